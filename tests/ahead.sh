#!/usr/bin/env bash
# Does what parts of the tests name in their lines "# ahead:", one after the other: tests/ahead.sh FILE RESULTS.
# tests/run.sh starts it beside the parts. FILE has lines "PART COMMAND"; a part that has begun has a file in RESULTS.

# shellcheck source=tests/common.sh
. "$(dirname "$0")/common.sh"

# All platforms together take 4 GB, which each of them gives back when it has been tested.
LEAST_FREE_MB=12288

# A part's results are its own.
export CLOPOS_TEST_RESULTS=/dev/null
while read -r part command; do
    # Not beside the part itself. A command of several steps asks, too.
    export CLOPOS_TEST_BEGUN=$2/$part
    if has_begun || [ "$(free_mb)" -lt "$LEAST_FREE_MB" ]; then continue; fi
    # In a process of its own, as in the part: what it sets does not reach the next one.
    (eval "$command") </dev/null
done <"${1:?a file of commands is wanted}"
