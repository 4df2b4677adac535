#!/usr/bin/env bash
# the C interface, from C99 and C++11, with the shared and the static library
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

need_c_tools || skip_all "the C interface: a compiler or libcurl is missing"
# Most of the tests wait for their sandbox.
NEXTEST_TEST_THREADS=4 c_tests c 'test(/^(c99|cpp11)_|^(examples|lifecycle)::/)'
