#!/usr/bin/env bash
# the shell scripts pass shellcheck
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

need shellcheck shellcheck || skip_all "shellcheck is missing"
finds_nothing() {
    printf '%s\n' examples/*.sh tests/*.sh tests/*/*.sh tests/wrappers/*/build .ci/run | xargs -P 2 -n 10 shellcheck -x
}
check "shellcheck finds nothing" finds_nothing
