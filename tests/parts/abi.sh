#!/usr/bin/env bash
# a program built with an older header runs: numbers, fields and functions stay
# ahead: need abidiff abigail-tools
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

# The record of the newest minor version; only it is compared by abidiff.
record=$(printf '%s\n' tests/abi/*/ | sort -V | tail -n 1)

# declares HEADER: the assertions of keeps.sh if this were the record.
declares() { awk -f tests/abi/kept.awk "$1" | grep '^_Static_assert' | sort; }

records_everything() {
    diff <(declares "${record}clopos_auth.h") <(declares "$1/clopos_auth.h") ||
        { echo "lines that begin with > are not recorded; CONTRIBUTING.md says how to do that" && return 1; }
}

# inject EDIT: makes a copy of the header with EDIT, which injects an error.
inject() {
    mkdir -p "$work/injected" && sed "$1" include/clopos_auth.h >"$work/injected/clopos_auth.h" &&
        ! cmp include/clopos_auth.h "$work/injected/clopos_auth.h"
}

# notices EDIT WORDS: with EDIT the header does not keep what is recorded, and the compiler reports that.
notices() {
    inject "$1" && ! tests/abi/keeps.sh "$work/injected" cc >"$work/kept" 2>&1 && grep -F "$2" "$work/kept"
}

notices_what_is_not_recorded() {
    inject '/^    CLOPOS_AUTH_PROTOCOL = 16,/a \    CLOPOS_AUTH_INJECTED = 17,' && ! records_everything "$work/injected"
}

# The interface in the compiler's debug information. Why "--examples": see build_sandbox.
read_interface() {
    cargo build --lib --examples --config profile.dev.package.clopos_auth.debug=2 && abidw --no-show-locs --no-corpus-path --no-comp-dir-path \
        --out-file "$work/library.abi" "$(target_directory)/debug/libclopos_auth.so" &&
        tests/abi/reduce.py "$work/library.abi" "$work/interface.abi"
}

# abidiff_reports EDIT WORDS: abidiff reports the change that EDIT makes to the interface.
abidiff_reports() {
    sed -E "$1" "$work/interface.abi" >"$work/injected.abi" && ! cmp "$work/interface.abi" "$work/injected.abi" &&
        ! abidiff "${record}interface.abi" "$work/injected.abi" >"$work/abidiff" && grep "$2" "$work/abidiff"
}

can_read_interface() {
    [ "$(uname -m)" = x86_64 ] && need abidiff abigail-tools && need python3 python3
}

# Writes the record of this minor version, unless that is released. The header has no comments there, and abidw's numbers
# stay, so that a record only changes when the interface does.
record_again() {
    local minor
    minor=$(crate_version) && minor=${minor%.*}
    grep -x "## $minor.0 (unreleased)" CHANGELOG.md ||
        { echo "$minor is released: what its record lacks needs a new minor version" && return 1; }
    record=tests/abi/$minor/
    can_read_interface && read_interface && mkdir -p "$record" &&
        { abidiff "${record}interface.abi" "$work/interface.abi" || cp "$work/interface.abi" "$record"; } &&
        sed -E '/^ *(\/?\*|$)/d' include/clopos_auth.h >"${record}clopos_auth.h"
}

# runs_with OPTION...: a program of 1.0, linked with these options, signs in to the sandbox.
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
[ -z "${CLOPOS_UPDATE_ABI:-}" ] || check "the interface is recorded again" record_again
check "everything in the header is recorded" records_everything include
check "a number that is not recorded is found" notices_what_is_not_recorded
check "the header keeps what is recorded" tests/abi/keeps.sh include cc
check "a moved field is found" notices '/^typedef struct clopos_auth_state {/a \    int32_t injected;' \
    'clopos_auth_state.has_token moved'
check "a field with another type is found" notices 's/^    uint64_t serial;/    int64_t serial;/' \
    'clopos_auth_token.serial has another type'
check "a changed number is found" notices 's/_REASON_DISABLED = 4,/_REASON_DISABLED = 6,/' \
    'CLOPOS_AUTH_REASON_DISABLED has another number'
check "a removed function is found" notices 's/^clopos_auth_cancel(/clopos_auth_injected(/' clopos_auth_cancel
check "a function with other arguments is found" notices 's/^clopos_auth_status_name(int32_t/&_t/; s/int32_t_t/int64_t/' \
    clopos_auth_status_name
check "a program built with the header of 1.0 runs with this shared library" \
    runs_with "-L$(target_directory)/release" -lclopos_auth
check "a program built with the header of 1.0 runs with this static library" \
    runs_with "$(target_directory)/release/libclopos_auth.a"

can_read_interface || skip_all "abidiff: the record is for x86-64, and needs abigail-tools and Python"
check "the interface can be read from the library" read_interface
# A field at the end or a new function are changes, too.
check "abidiff finds no change since $record" abidiff "${record}interface.abi" "$work/interface.abi"
check "abidiff finds a moved field" \
    abidiff_reports '/"http_status"/!s/layout-offset-in-bits="192"/layout-offset-in-bits="200"/' 'offset changed'
check "abidiff finds a struct that grew" \
    abidiff_reports 's/(name="clopos_auth_token" size-in-bits=)"384"/\1"448"/' 'size changed'
check "abidiff finds a removed function" \
    abidiff_reports '/elf-symbol name="clopos_auth_cancel"/d;/function-decl name="clopos_auth_cancel"/,/<\/function-decl>/d' \
    'Removed function'
check "abidiff finds a status with another number" \
    abidiff_reports 's/name="Dns" value="8"/name="Dns" value="9"/' 'from value'
