#!/usr/bin/env bash
# the C tests and the library's own code, with AddressSanitizer and LeakSanitizer
# run: all
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

need_c_tools || skip_all "asan: a compiler or libcurl is missing"
built build_sanitized address
# The runtime is GCC's: the instrumented library uses that of the program that loads it. One test searches all
# memory, of which the sanitizer reserves terabytes.
CLOPOS_TEST_LIBRARIES=$(target_directory)/address/$(host)/debug CLOPOS_TEST_CFLAGS=-fsanitize=address \
    ASAN_OPTIONS=detect_stack_use_after_return=1 \
    c_tests asan '(test(/^c99_shared::/) and not test(/nothing_of_secret_and_token_is_left/)) or test(/^tools::asan/)'
