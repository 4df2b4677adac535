#!/usr/bin/env bash
# Does what parts of the tests name in their lines "# ahead:", one after the other: tests/ahead.sh FILE. tests/run.sh
# starts it beside the parts.

# shellcheck source=tests/common.sh
. "$(dirname "$0")/common.sh"

# A part's results are its own.
export CLOPOS_TEST_RESULTS=/dev/null
while read -r command; do
    # In a process of its own, as in the part: what it sets does not reach the next one.
    (eval "$command")
done <"${1:?a file of commands is wanted}"
