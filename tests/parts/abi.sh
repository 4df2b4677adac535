#!/usr/bin/env bash
# what programs have compiled in stays: numbers, fields, functions
# ahead: need abidiff abigail-tools
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

# The interface as it was recorded last; what a new minor version adds is recorded beside the older ones.
record=$(printf '%s\n' tests/abi/*/interface.abi | sort -V | tail -n 1)

# layout FOLDER: the offsets by the header in it.
layout() {
    cc -std=c99 "-I$1" tests/abi/layout.c -o "$work/layout" && "$work/layout"
}

same_layout() {
    layout "$1" >"$work/layout.now" &&
        awk -f tests/abi/same_layout.awk "tests/abi/1.0/layout.$(getconf LONG_BIT)" "$work/layout.now"
}

notices_a_moved_field() {
    mkdir -p "$work/moved" &&
        sed '/^typedef struct clopos_auth_token {/a int32_t planted;' include/clopos_auth.h \
            >"$work/moved/clopos_auth.h" &&
        ! same_layout "$work/moved" >"$work/moved/fields" && grep -F 'clopos_auth_token.value was 0' "$work/moved/fields"
}

# The interface as the compiler's debug information tells it. Why "--examples": see build_sandbox.
read_interface() {
    cargo build --lib --examples --config profile.dev.package.clopos_auth.debug=2 && abidw --no-show-locs --no-corpus-path --no-comp-dir-path \
        --out-file "$work/library.abi" "$(target_directory)/debug/libclopos_auth.so" &&
        tests/abi/reduce.py "$work/library.abi" "$work/interface.abi"
}

# changed EDIT WORDS: abidiff sees what the edit does to the interface, and says so.
changed() {
    sed -E "$1" "$work/interface.abi" >"$work/planted.abi" && ! cmp "$work/interface.abi" "$work/planted.abi" &&
        ! abidiff "$record" "$work/planted.abi" >"$work/abidiff" && grep "$2" "$work/abidiff"
}

# keeps PATTERN HEADER: all that matches in the first header is in this one, too.
keeps() {
    grep -o -E "$1" tests/abi/1.0/clopos_auth.h | sort -u >"$work/first"
    grep -o -E "$1" "$2" | sort -u | comm -23 "$work/first" - >"$work/lost"
    cat "$work/lost"
    [ -s "$work/first" ] && [ ! -s "$work/lost" ]
}

# A program of 1.0, in each way that it may be linked, with the service that the sandbox plays.
clean_up() { stop_sandbox; }
runs_with() {
    built build_library
    [ -n "${sandbox:-}" ] || start_sandbox || return
    cc -std=c99 -Wall -Wextra -Werror -Itests/abi/1.0 tests/abi/program.c "$@" -lpthread -lm -ldl -o "$work/program" &&
        LD_LIBRARY_PATH=$(target_directory)/release "$work/program"
}

need cc gcc libc6-dev || skip_all "the ABI: no C compiler"
check "the .NET package has the version of Cargo.toml" \
    grep -F "<Version>$(crate_version)</Version>" examples/dotnet/Clopos.Auth/Clopos.Auth.csproj
check "the Python package has the version of Cargo.toml" \
    grep -Fx "__version__ = \"$(crate_version)\"" examples/python/clopos_auth/__init__.py
check "no field moved since 1.0" same_layout include
check "a field that moved would be noticed" notices_a_moved_field
check "no number changed since 1.0" keeps '^ *CLOPOS_AUTH_[A-Z_]+ = [0-9]+' include/clopos_auth.h
check "no function is gone since 1.0" keeps 'clopos_auth_[a-z_]+\(' include/clopos_auth.h
check "a program that was compiled with the header of 1.0 runs with this shared library" \
    runs_with "-L$(target_directory)/release" -lclopos_auth
check "a program that was compiled with the header of 1.0 runs with this static library" \
    runs_with "$(target_directory)/release/libclopos_auth.a"

if [ "$(uname -m)" != x86_64 ] || ! need abidiff abigail-tools || ! need python3 python3; then
    skip_all "abidiff: the record is for x86-64, and needs abigail-tools and Python"
fi
# A field at the end or a new function are changes, too: who means them records the interface again.
check "the interface can be read from the library" read_interface
check "abidiff sees no change since ${record%/*}" abidiff "$record" "$work/interface.abi"
check "abidiff would see a field that moved" \
    changed '/"http_status"/!s/layout-offset-in-bits="192"/layout-offset-in-bits="200"/' 'offset changed'
check "abidiff would see a struct that grew" \
    changed 's/(name="clopos_auth_token" size-in-bits=)"384"/\1"448"/' 'size changed'
check "abidiff would see a function that went" \
    changed '/elf-symbol name="clopos_auth_cancel"/d;/function-decl name="clopos_auth_cancel"/,/<\/function-decl>/d' \
    'Removed function'
check "abidiff would see a status with another number" \
    changed 's/name="Dns" value="8"/name="Dns" value="9"/' 'from value'
