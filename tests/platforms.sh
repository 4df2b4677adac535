#!/usr/bin/env bash
# Builds the library for a platform as it ships there, and runs a program on it.
#
#     tests/platforms.sh TARGET...    builds and tests these
#     tests/platforms.sh --list       the targets that there are
#     tests/platforms.sh --build TARGET...    builds only
#     tests/platforms.sh --tidy TARGET...     leaves nothing but what a release takes, for disks that are small
#
# What a release takes is then in target/platforms/TARGET/dist: the stripped shared library, the static
# library and, for Windows, the import library.
#
# One way for all: Debian's Rust builds the standard library for the target, small and without the
# code that prints backtraces, and zig links for Linux, because it knows the C libraries of older systems
# and brings an unwinder of its own. The programs run on the real thing, under qemu or under Wine, against
# a sandbox on this machine, over TLS with a CA that they were given.

set -u
# shellcheck source=examples/tools.sh
. "$(dirname "$0")/../examples/tools.sh"
cd "$root" || exit 1
# shellcheck source=tests/toolchains.sh
. tests/toolchains.sh
# shellcheck source=tests/common.sh
. tests/common.sh

TARGETS=(
    x86_64-unknown-linux-gnu
    aarch64-unknown-linux-gnu
    armv7-unknown-linux-gnueabihf
    x86_64-unknown-linux-musl
    x86_64-pc-windows-gnu
)

WARNINGS=(-std=c99 -Wall -Wextra -Wpedantic -Werror)

# The oldest glibc that the library may need, and what runs a program of the target here.
describe() {
    glibc='' runner=() zig_target='' packages=()
    case $1 in
    x86_64-unknown-linux-gnu) glibc=2.17 zig_target=x86_64-linux-gnu.2.17 ;;
    aarch64-unknown-linux-gnu)
        glibc=2.28 zig_target=aarch64-linux-gnu.2.28
        runner=(qemu-aarch64 -L /usr/aarch64-linux-gnu)
        packages=(qemu-user libc6-arm64-cross)
        ;;
    armv7-unknown-linux-gnueabihf)
        glibc=2.28 zig_target=arm-linux-gnueabihf.2.28
        runner=(qemu-arm -L /usr/arm-linux-gnueabihf)
        packages=(qemu-user libc6-armhf-cross)
        ;;
    x86_64-unknown-linux-musl)
        zig_target=x86_64-linux-musl
        runner=(/lib/ld-musl-x86_64.so.1)
        packages=(musl)
        ;;
    x86_64-pc-windows-gnu)
        runner=(/usr/lib/wine/wine64)
        packages=(wine64)
        ;;
    *)
        echo "no platform is named $1; there are: ${TARGETS[*]}" >&2
        exit 2
        ;;
    esac
}

check() {
    one_test "$target: $1" "${@:2}" || failed=1
}

# The library's file of this target: shared, static.
shared_name() {
    if is_windows; then echo clopos_auth.dll; else echo libclopos_auth.so; fi
}

need_tools() {
    need_debian_rust || return
    need readelf binutils || return
    if is_windows; then
        need x86_64-w64-mingw32-gcc gcc-mingw-w64-x86-64 || return
    else
        need_zig || return
    fi
    [ ${#runner[@]} = 0 ] || [ -e "$(command -v "${runner[0]}")" ] || apt_install "${packages[@]}"
    [ ${#runner[@]} = 0 ] || [ -e "$(command -v "${runner[0]}")" ] && return
    echo "missing: ${runner[0]} (on Debian: apt-get install ${packages[*]})" >&2
    return 1
}

# cargo_for_target ARGUMENT... [-- RUSTC ARGUMENT...]
cargo_for_target() {
    local command=(/usr/bin/cargo rustc) where=$target
    is_windows || { command=(cargo-zigbuild rustc) where=$target${glibc:+.$glibc}; }
    # Everything that is compiled here ships, so it may know nothing of this machine's folders: ring's C
    # code would bring debug information with their names along.
    CFLAGS=-g0 RUSTC=/usr/bin/rustc CARGO=/usr/bin/cargo RUSTC_BOOTSTRAP=1 RUSTFLAGS=$flags \
        "${command[@]}" --release --lib --target "$where" --target-dir target/platforms \
        -Zbuild-std=std,panic_unwind -Zbuild-std-features=panic-unwind,optimize_for_size "$@"
}

# Into the directory $1 goes what cargo_for_target has built.
collect() {
    local from=target/platforms/$target/release
    rm -rf "$1" && mkdir -p "$1" && cp "$from/libclopos_auth.a" "$1/" || return
    if is_windows; then
        cp "$from/clopos_auth.dll" "$from/libclopos_auth.dll.a" "$1/"
    else
        cp "$from/libclopos_auth.so" "$1/" && ln -s libclopos_auth.so "$1/libclopos_auth.so.1"
    fi
}

# What ships: beside the rlib, which Cargo.toml lists too, cargo would optimise no library as a whole.
# shellcheck disable=SC2054 # the comma belongs to the option
SHIPPED=(--crate-type cdylib,staticlib)

build() {
    cargo_for_target "${SHIPPED[@]}" && collect "$dist"
}

# The same with a panic on purpose in it, and with its names, which tell what takes the space.
build_planted() {
    cargo_for_target "${SHIPPED[@]}" -- --cfg clopos_planted_panic -C strip=none && collect "$planted"
}

# compile SOURCE LIBRARIES OUTPUT
compile() {
    if is_windows; then
        x86_64-w64-mingw32-gcc "${WARNINGS[@]}" -O2 -Iinclude "$1" -L"$2" -lclopos_auth -o "$3.exe"
    elif [[ $target = *-musl ]]; then
        # musl's own loader finds its libraries where it is told to.
        zig cc -target "$zig_target" -dynamic "${WARNINGS[@]}" -O2 -Iinclude "$1" -L"$2" -lclopos_auth -o "$3"
    else
        zig cc -target "$zig_target" "${WARNINGS[@]}" -O2 -Iinclude "$1" -L"$2" -lclopos_auth -o "$3"
    fi
}

# run_program LIBRARIES PROGRAM ARGUMENT...
run_program() {
    if is_windows; then
        # Wine's own messages are about what a machine without a screen lacks.
        cp -f "$1/clopos_auth.dll" "$work/windows/" &&
            WINEPREFIX=$work/wine WINEDEBUG=-all WINEDLLOVERRIDES='bcryptprimitives=n;mscoree,mshtml=' \
                timeout 120 "${runner[@]}" "$2.exe" "${@:3}"
    else
        timeout 120 env LD_LIBRARY_PATH="$1" "${runner[@]}" "$2" "${@:3}"
    fi
}

# What Wine 8 lacks of a newer Windows; beside the program, where Windows looks first.
prepare_wine() {
    x86_64-w64-mingw32-gcc -shared -O2 tests/platforms/bcryptprimitives.c -ladvapi32 \
        -o "$work/windows/bcryptprimitives.dll"
}

exported() {
    if is_windows; then
        x86_64-w64-mingw32-objdump -p "$dist/clopos_auth.dll" |
            sed -n '/Name Pointer\] Table/,$ s/^[[:space:]]*\[ *[0-9]*\] \([A-Za-z_][A-Za-z0-9_]*\)$/\1/p'
    else
        readelf --dyn-syms -W "$dist/libclopos_auth.so" |
            awk '$7 ~ /^[0-9]+$/ && $5 == "GLOBAL" { print $8 }' | sed 's/@.*//'
    fi
}

exports_only_the_interface() {
    grep -o 'clopos_auth_[a-z_]*(' include/clopos_auth.h | tr -d '(' | sort -u >"$work/promised"
    exported | sort -u >"$work/exported"
    diff --label header "$work/promised" --label library "$work/exported"
}

keeps_every_function() {
    sort tests/abi/1.0/symbols | comm -23 - "$work/exported" >"$work/lost"
    cat "$work/lost"
    [ ! -s "$work/lost" ]
}

# What this platform's compiler makes of the header, and what it made of the first one.
keeps_the_layout() {
    local bits=64
    [[ $target != armv7-* ]] || bits=32
    compile tests/abi/layout.c "$dist" "$work/windows/layout" &&
        run_program "$dist" "$work/windows/layout" | tr -d '\r' >"$work/layout" &&
        cat "$work/layout" && awk -f tests/abi/same_layout.awk "tests/abi/1.0/layout.$bits" "$work/layout"
}

needs_no_newer_glibc() {
    local newest
    newest=$(readelf -V "$dist/libclopos_auth.so" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' |
        sort -Vu | tail -n 1)
    echo "needs glibc $newest, may need $glibc"
    [ -n "$newest" ] && [ "$(printf '%s\n' "$newest" "$glibc" | sort -V | tail -n 1)" = "$glibc" ]
}

# Whatever the system itself does not have would have to be brought along.
needs_only_the_system() {
    if is_windows; then
        x86_64-w64-mingw32-objdump -p "$dist/clopos_auth.dll" | sed -n 's/.*DLL Name: //p' >"$work/needed"
        ! grep -v -i -E '^(kernel32|ntdll|ws2_32|msvcrt|userenv|advapi32|crypt32|bcrypt|bcryptprimitives|api-ms-win-.*)\.dll$' \
            "$work/needed"
    else
        readelf -d "$dist/libclopos_auth.so" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' >"$work/needed"
        ! grep -v -E '^(ld-linux.*|lib(c|pthread|dl|m)\.so(\.[0-9])?)$' "$work/needed"
    fi
}

# With 256 KiB for the program's own thread; the library's own take as much.
test_firmware() {
    local limit=("${runner[@]}" -s 262144)
    echo 'int main(void) { return 0; }' >"$work/nothing.c"
    compile examples/c/firmware.c "$dist" "$work/firmware" &&
        compile "$work/nothing.c" "$dist" "$work/nothing" || return
    LD_LIBRARY_PATH=$dist python3 tests/platforms/peak.py firmware.c "${limit[@]}" "$work/firmware" &&
        LD_LIBRARY_PATH=$dist python3 tests/platforms/peak.py "an empty program" "${limit[@]}" "$work/nothing"
}

# A program on the static library alone, of every object that it needs.
test_static() {
    local libraries=()
    [[ $target = *-musl ]] || libraries=(-lpthread -ldl -lm)
    zig cc -target "$zig_target" "${WARNINGS[@]}" -O2 -Iinclude tests/platforms/smoke.c \
        "$dist/libclopos_auth.a" "${libraries[@]}" -lunwind -o "$work/smoke-static" || return
    if [[ $target = *-musl ]]; then
        "$work/smoke-static"
    else
        timeout 120 "${runner[@]}" "$work/smoke-static"
    fi
}

test_target() {
    local start=$SECONDS
    target=$1
    dist=target/platforms/$target/dist planted=target/platforms/$target/planted
    describe "$target"
    flags="--remap-path-prefix=$root=. --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo"
    flags="$flags --remap-path-prefix=/usr/src=rust"
    # A shared library beside a C library that is one, too.
    [[ $target != *-musl ]] || flags="$flags -Ctarget-feature=-crt-static"
    if ! need_tools; then
        echo "skipped - $target: a tool is missing"
        return
    fi
    mkdir -p "$work/windows"
    check "it builds" build
    [ -e "$dist/$(shared_name)" ] || return
    [ -z "$build_only" ] || return 0
    check "it exports what the header declares and nothing else" exports_only_the_interface
    check "it exports every function of 1.0" keeps_every_function
    check "it needs nothing that the system does not have" needs_only_the_system
    [ -z "$glibc" ] || check "it loads with glibc $glibc" needs_no_newer_glibc
    ! is_windows || check "what Wine lacks is there" prepare_wine
    check "a C program compiles" compile tests/platforms/smoke.c "$dist" "$work/windows/smoke"
    check "no field moved since 1.0" keeps_the_layout
    check "a C program signs in over TLS" run_program "$dist" "$work/windows/smoke"
    is_windows || check "a C program signs in with the static library" test_static
    check "it builds with a panic on purpose" build_planted
    check "a panic is contained" run_program "$planted" "$work/windows/smoke" panic
    if [[ $target = armv7-* ]]; then
        check "firmware.c signs in with 256 KiB of stack" test_firmware
        grep '^peak' "$work/check.log"
    fi
    # A DLL's names have no sizes.
    local unstripped=()
    is_windows || unstripped=("$planted/libclopos_auth.so")
    check "its size is the recorded one" tests/size.sh "$target" "$dist/$(shared_name)" "${unstripped[@]}"
    sed -n 's/^ *[0-9]* .* %  /'"$target"': &/p' "$work/check.log"
    printf '%s: %d bytes, %d s\n' "$target" "$(stat -Lc %s "$dist/$(shared_name)")" $((SECONDS - start))
    # Each target has a standard library of its own.
    [ -z "$tidy" ] || rm -rf "target/platforms/$target/release" "$planted"
}

build_only='' tidy=''
case ${1:-} in
--list)
    printf '%s\n' "${TARGETS[@]}"
    exit
    ;;
--build) build_only=1 && shift ;;
--tidy) tidy=1 && shift ;;
esac
[ $# != 0 ] || { echo "usage: tests/platforms.sh [--build | --tidy] TARGET..., of: ${TARGETS[*]}" >&2; exit 2; }

work=$(mktemp -d)
cleanup() {
    stop_sandbox
    [ ! -e "$work/wine" ] || WINEPREFIX=$work/wine /usr/lib/wine/wineserver64 -k
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

failed=0
need_rust || exit 1
[ -n "$build_only" ] || start_sandbox || exit 1
for wanted in "$@"; do
    test_target "$wanted"
done
[ "$failed" = 0 ]
