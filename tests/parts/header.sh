#!/usr/bin/env bash
# the headers compile without a warning: C99 to C17 and C++11 to C++20, gcc and clang
# ahead: need clang clang
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

warnings=(-Wall -Wextra -Wpedantic -Wundef -Werror -Iinclude -fsyntax-only)

# Each header is included twice.
printf '%s\n' '#include <clopos_auth.h>' '#include <clopos_auth.h>' \
    'typedef char status_has_32_bits[sizeof(clopos_auth_status) == 4 ? 1 : -1];' \
    'int main(void) { return CLOPOS_AUTH_OK; }' >"$work/header.c"
cp "$work/header.c" "$work/header.cpp"
printf '%s\n' '#include <clopos_auth.hpp>' '#include <clopos_auth.hpp>' >"$work/wrapper.cpp"

compiles() {
    check "${2##*/} compiles: $1 ${*:3}" "$1" "${@:3}" "${warnings[@]}" "$2"
}

for compiler in gcc clang; do
    need "$compiler" "$compiler" || { skipped "the header with $compiler"; continue; }
    for standard in c99 c11 c17 "c99 -fshort-enums"; do
        # shellcheck disable=SC2086 # words are wanted
        compiles "$compiler" "$work/header.c" -std=$standard
    done
done
for compiler in g++ clang++; do
    need "$compiler" "${compiler/clang++/clang}" || { skipped "the header with $compiler"; continue; }
    for standard in c++11 c++14 c++17 c++20 "c++11 -fshort-enums"; do
        # shellcheck disable=SC2086 # words are wanted
        compiles "$compiler" "$work/header.cpp" -std=$standard
    done
    for standard in c++17 c++20; do compiles "$compiler" "$work/wrapper.cpp" "-std=$standard"; done
done
