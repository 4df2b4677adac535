#!/usr/bin/env bash
# the C tests with threads, the library's and Rust's own code, with ThreadSanitizer
# run: all
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

need_each need_c_tools need_debian_rust || skip_all "tsan: a compiler, libcurl or Debian's Rust is missing"
built gcc -O1 -fno-builtin -c tests/c/tsan.c -o "$work/tsan.o"
# Rust's standard library is instrumented as well: otherwise its locks are not seen.
PATH=/usr/bin:$PATH built build_sanitized thread -Zbuild-std=std,panic_unwind
CLOPOS_TEST_LIBRARIES=$(target_directory)/thread/$(host)/debug \
    CLOPOS_TEST_CFLAGS="-fsanitize=thread -Wl,$work/tsan.o" \
    c_tests tsan "$THREADED_C_TESTS or test(/^tools::tsan/)"
