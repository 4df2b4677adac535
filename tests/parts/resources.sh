#!/usr/bin/env bash
# out of memory is a status, the promised stack is enough, and no file is written
# run: all
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

need_each need_c_tools "need strace strace" || skip_all "the resources: a compiler, libcurl or strace is missing"
built build_library
CLOPOS_TEST_LIBRARIES=$(target_directory)/release c_tests resources 'test(/^resources::/)'
