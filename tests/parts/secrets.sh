#!/usr/bin/env bash
# nothing that the tests log and report contains a secret or a token
# needs: c
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

# has_no_secret FOLDER
has_no_secret() {
    ! grep -r -n -F -f "$work/secrets" "$1"
}

finds_an_injected_secret() {
    local secret
    for secret in "$(head -n 1 "$work/secrets")" "$(tail -n 1 "$work/secrets")"; do
        rm -rf "$work/injected"
        mkdir "$work/injected"
        echo "some line with ${secret} in it" >"$work/injected/log"
        ! has_no_secret "$work/injected" || return 1
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
check "an injected secret is found" finds_an_injected_secret
check "no line contains a secret or a token" has_no_secret "$CLOPOS_TEST_TRANSCRIPT"
