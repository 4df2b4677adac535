#!/usr/bin/env bash
# the packages of a release, each installed by a project that has nothing else of this one
# run: all
# needs: release
# ahead: need lintian lintian
# ahead: need debootstrap debootstrap
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

package() { tool_tests "$1" "$1"; }
two_at_a_time package tests/release/test_*.sh
