#!/usr/bin/env bash
# nothing that the tests have printed or logged holds a secret or a token
# needs: c
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

# holds_no_secret FOLDER
holds_no_secret() {
    ! grep -r -n -F -f "$work/secrets" "$1"
}

finds_a_planted_secret() {
    local secret
    for secret in "$(head -n 1 "$work/secrets")" "$(tail -n 1 "$work/secrets")"; do
        rm -rf "$work/planted"
        mkdir "$work/planted"
        echo "some line with ${secret} in it" >"$work/planted/log"
        ! holds_no_secret "$work/planted" || return 1
    done
}

at_least() {
    echo "$2 of at least $1"
    [ "$2" -ge "$1" ]
}

: "${CLOPOS_TEST_TRANSCRIPT:?is set by tests/run.sh}" "${CLOPOS_TEST_SECRETS:?}"
sort -u "$CLOPOS_TEST_SECRETS" | sed '/^$/d' >"$work/secrets"
check "there are lines to search" at_least 100 \
    "$(find "$CLOPOS_TEST_TRANSCRIPT" -type f -exec cat {} + | grep -c .)"
check "there are secrets to search for" at_least 20 "$(wc -l <"$work/secrets")"
check "a planted secret is found" finds_a_planted_secret
check "no line holds a secret or a token" holds_no_secret "$CLOPOS_TEST_TRANSCRIPT"
