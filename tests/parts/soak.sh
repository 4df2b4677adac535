#!/usr/bin/env bash
# two minutes of everything at the same time: nothing grows, and no expired token is returned
# run: all
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

# CLOPOS_TEST_SOAK_S: how many seconds.
need_c_tools || skip_all "the soak: a compiler is missing"
built build_library
CLOPOS_TEST_LIBRARIES=$(target_directory)/release c_tests soak 'test(/^soak::/)'
