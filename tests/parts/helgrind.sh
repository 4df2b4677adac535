#!/usr/bin/env bash
# the C tests with threads, under valgrind's helgrind
# run: all
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

need_each need_c_tools "need valgrind valgrind libc6-dbg" || skip_all "helgrind: a compiler, libcurl or valgrind is missing"
built build_library
export CLOPOS_TEST_LIBRARIES CLOPOS_TEST_DEADLINE_S=600
CLOPOS_TEST_LIBRARIES=$(target_directory)/release/unstripped
CLOPOS_TEST_UNDER="valgrind --tool=helgrind --quiet --error-exitcode=99 --num-callers=40
    --suppressions=$root/tests/c/helgrind.supp" \
    c_tests helgrind "$THREADED_C_TESTS or test(/^tools::helgrind/)"
