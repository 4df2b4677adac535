#!/usr/bin/env bash
# the C tests with the library that ships, under valgrind's memcheck
# ahead: need valgrind valgrind libc6-dbg
# ahead: build_library
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

need_each need_c_tools "need valgrind valgrind libc6-dbg" || skip_all "memcheck: a compiler, libcurl or valgrind is missing"
built build_library
export CLOPOS_TEST_LIBRARIES CLOPOS_TEST_DEADLINE_S=600
CLOPOS_TEST_LIBRARIES=$(target_directory)/release/unstripped
CLOPOS_TEST_UNDER="valgrind --quiet --error-exitcode=99 --leak-check=full --num-callers=40
    --show-leak-kinds=definite,indirect --errors-for-leak-kinds=definite,indirect
    --suppressions=$root/tests/c/valgrind.supp" \
    c_tests memcheck 'test(/^c99_shared::/) or test(/^examples/) or test(/^tools::memcheck/)'
