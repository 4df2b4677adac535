#!/usr/bin/env bash
# the packages of a release, each installed by a project that has nothing else of this one
# run: all
# needs: release
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

for script in tests/release/test_*.sh; do
    tool_tests "$script" "$script"
done
