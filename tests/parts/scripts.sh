#!/usr/bin/env bash
# the shell scripts pass shellcheck
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

need shellcheck shellcheck || skip_all "shellcheck is missing"
check "shellcheck finds nothing" shellcheck -x examples/*.sh tests/*.sh tests/*/*.sh tests/wrappers/*/build .ci/run
