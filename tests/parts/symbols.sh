#!/usr/bin/env bash
# what the libraries export and need
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

exports_only_what_the_header_declares() {
    diff --label header <(declared_functions include) \
        --label library <(nm -D --defined-only "$1" | awk '{ print $3 }' | sort)
}

# A program links the static library and another one that is written in Rust, in both orders.
links_with_another_rust_library() {
    local order
    rustc --crate-type staticlib -O -o "$work/libother.a" tests/c/other.rs || return
    for order in "$1 $work/libother.a" "$work/libother.a $1"; do
        # shellcheck disable=SC2086 # two words
        cc -std=c99 -Iinclude tests/c/two_libraries.c $order -lpthread -lm -ldl -o "$work/two_libraries" && "$work/two_libraries" || return
    done
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
check "the static library exports no name of Rust" has_no_rust_names "${shared%.so}.a"
check "the static library links together with another one that is written in Rust" \
    links_with_another_rust_library "${shared%.so}.a"
