#!/usr/bin/env bash
# the archives of a release, this machine's made twice, and programs that build against them
# run: all
# needs: platforms
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

tool_tests "the release" tests/release/test.sh
