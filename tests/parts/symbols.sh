#!/usr/bin/env bash
# what the libraries export and need
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

exports_only_what_the_header_declares() {
    diff --label header <(declared_functions include) \
        --label library <(nm -D --defined-only "$1" | awk '{ print $3 }' | sort)
}

# No two libraries in a program can collide over a name: all that the static library defines is the
# interface, or bears the mark of its origin.
other_names_cannot_collide() {
    ! nm -g --defined-only "$1" 2>/dev/null | awk 'NF == 3 { print $3 }' | sort -u |
        grep -v -E '^(clopos_auth_|_ZN|_R|ring_core_|rust_|DW\.ref\.rust_|__)'
}

has_dynamic_entry() {
    readelf -d "$1" | grep -F "$2"
}

{ need nm binutils && need readelf binutils; } || skip_all "the symbols: binutils is missing"
shared=$(target_directory)/release/libclopos_auth.so
check "the library builds as it ships" build_library
check "the shared library exports what the header declares and nothing else" \
    exports_only_what_the_header_declares "$shared"
check "its SONAME is libclopos_auth.so.1" has_dynamic_entry "$shared" 'soname: [libclopos_auth.so.1]'
check "it cannot be unloaded" has_dynamic_entry "$shared" NODELETE
check "the static library's other names cannot collide with a program's" \
    other_names_cannot_collide "${shared%.so}.a"
