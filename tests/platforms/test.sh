#!/usr/bin/env bash
# Builds the library for one platform and tests it there: tests/platforms/test.sh TARGET. tests/platforms.sh calls it,
# with a sandbox running. With CLOPOS_TEST_TIDY set, what a release takes is left, and nothing else.

# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"
# shellcheck source=tests/platforms/target.sh
. tests/platforms/target.sh
# shellcheck source=tests/platforms/windows.sh
. tests/platforms/windows.sh

# compile SOURCE LIBRARIES OUTPUT OPTION...
compile() {
    if is_windows; then
        "${binutils}gcc" "${WARNINGS[@]}" -O2 -Iinclude "$1" "$2/libclopos_auth.dll.a" "${@:4}" -o "$3.exe"
    elif [[ $target = *-musl ]]; then
        # musl's own loader finds its libraries where it is told to.
        zig cc -target "$zig_target" -dynamic "${WARNINGS[@]}" -O2 -Iinclude "$1" -L"$2" -lclopos_auth "${@:4}" -o "$3"
    else
        zig cc -target "$zig_target" "${WARNINGS[@]}" -O2 -Iinclude "$1" -L"$2" -lclopos_auth "${@:4}" -o "$3"
    fi
}

# run_program LIBRARIES PROGRAM ARGUMENT...
run_program() {
    if is_windows; then
        cp -f "$1/clopos_auth.dll" "$work/windows/" && run_in_wine "$2.exe" "${@:3}"
    else
        timeout 120 env LD_LIBRARY_PATH="$1" "${runner[@]}" "$2" "${@:3}"
    fi
}

# Up to three times if Wine itself crashes. Wine for i386 does that, with any program that ends while one of its threads
# starts. A crash of the program is no signal but an exit status, 5 if it used memory that it does not have.
run_in_wine() {
    local status
    for _ in 1 2 3; do
        # Wine's own messages are about what a machine without a screen lacks.
        WINEPREFIX=$work/wine WINEDEBUG=-all WINEDLLOVERRIDES='mscoree,mshtml=' timeout 120 "${runner[@]}" "$@"
        status=$?
        [ "$status" = 139 ] || break
    done
    return "$status"
}

exported() {
    if is_windows; then
        "${binutils}objdump" -p "$dist/clopos_auth.dll" |
            sed -n '/Name Pointer\] Table/,$ s/^[[:space:]]*\[ *[0-9]*\] \([A-Za-z_][A-Za-z0-9_]*\)$/\1/p'
    else
        readelf --dyn-syms -W "$dist/libclopos_auth.so" |
            awk '$7 ~ /^[0-9]+$/ && $5 == "GLOBAL" { print $8 }' | sed 's/@.*//'
    fi
}

exports_only_the_interface() {
    exported | sort -u >"$work/exported"
    diff --label header <(declared_functions include) --label library "$work/exported"
}

# What this platform's compiler makes of the header, and of those before.
keeps_the_abi() {
    local compiler=(zig cc -target "$zig_target")
    ! is_windows || compiler=("${binutils}gcc")
    ! is_android || compiler=(clang "--target=$target")
    tests/abi/keeps.sh include "${compiler[@]}"
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
        imports_only_what_windows_7_has
        return
    fi
    readelf -d "$dist/libclopos_auth.so" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' >"$work/needed"
    ! grep -v -E '^(ld-linux.*|lib(c|pthread|dl|m)\.so(\.[0-9])?)$' "$work/needed"
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

# run_static PROGRAM ARGUMENT...
run_static() {
    # musl's loader starts no program that needs none.
    local runner=("${runner[@]}")
    [[ $target != *-musl ]] || runner=()
    run_program "$dist" "$@"
}

signs_in_statically() {
    compile_static tests/platforms/smoke.c "$work/windows/smoke-static" && run_static "$work/windows/smoke-static"
}

# The doctor of the release, with the CA of the sandbox beside those that it brings.
doctor_signs_in() {
    compile_static examples/c/doctor.c "$work/windows/doctor" && run_static "$work/windows/doctor"
}

# A message loop gets a token without waiting for it, and is told when it is there.
gets_a_token_in_a_message_loop() {
    compile examples/c/event_loop_windows.c "$dist" "$work/windows/event_loop" &&
        run_program "$dist" "$work/windows/event_loop" 3 >"$work/loop" || return
    cat "$work/loop"
    # Not `no token: WOULD_WAIT`: the sandbox may answer during the first call.
    tr -d '\r' <"$work/loop" >"$work/loop.lines"
    grep -x 'the library announces: OK' "$work/loop.lines" &&
        grep -x 'token [0-9]*, expires in 3[56][0-9][0-9] s' "$work/loop.lines" && grep '^longest time away' "$work/loop.lines"
}

# Every function at every moment of a process, see tests/c/lifecycle.c.
keeps_its_word_at_every_moment() {
    local words status libraries=()
    ! is_windows || libraries=(-lws2_32 -static-libgcc -l:libpthread.a)
    compile tests/c/lifecycle.c "$dist" "$work/windows/lifecycle" "${libraries[@]}" || return
    for words in token "token log" "token exit" request "request log" "request exit"; do
        echo "$words:"
        CLOPOS_LIFECYCLE=$words run_program "$dist" "$work/windows/lifecycle" >"$work/lifecycle" 2>&1
        status=$?
        cat "$work/lifecycle"
        [ "$status" = 0 ] || return
        grep -q '^ok - atexit, registered before the first use' "$work/lifecycle" || return
        ! grep '^not ok' "$work/lifecycle" || return
    done
}

# What a program for Android has to find elsewhere: in what every Android since 5 (API level 21) has, or in what the NDK
# links into it.
android_has_the_rest() {
    "${binutils}nm" "$dist/libclopos_auth.a" | awk '
        NF == 3 { defined[$3] }
        NF == 2 && $1 == "U" { wanted[$2] }
        END { for (name in wanted) if (!(name in defined)) print name }' | sort >"$work/wanted"
    grep -q '^getaddrinfo$' "$work/wanted" && grep -v '^#' "${1:-tests/platforms/android.symbols}" |
        awk '{ print $1 }' | sort | comm -13 - "$work/wanted" >"$work/unknown"
    cat "$work/unknown"
    [ ! -s "$work/unknown" ]
}

notices_what_android_lacks() {
    grep -v '^getaddrinfo ' tests/platforms/android.symbols >"$work/fewer.symbols"
    ! android_has_the_rest "$work/fewer.symbols" && grep -x getaddrinfo "$work/unknown"
}

test_that() {
    check "$target: $1" "${@:2}"
}

clean_up() {
    # Each target has a standard library of its own.
    [ -z "${CLOPOS_TEST_TIDY:-}" ] || rm -rf "${builds:?}" "${injected:?}"
    local server=("${runner[@]/%wine/wineserver32}")
    [ ! -e "$work/wine" ] || WINEPREFIX=$work/wine "${server[@]/%wine64/wineserver64}" -k
}

start=$SECONDS
choose "${1:?a target is wanted}"
if [[ $target = i686-* ]] && ! runs_32_bit 2>/dev/null; then
    # A machine of CI is not to fail over what it cannot do.
    why="$target: this machine's kernel runs no 32-bit programs"
    if [ -n "${CI:-}" ]; then echo "$why"; else skipped "$why"; fi
    exit
fi
need_tools || skip_all "$target: a tool is missing"
mkdir -p "$work/windows"
rm -rf "$dist"
test_that "it builds" build || exit
test_that "the header keeps what is recorded" keeps_the_abi
if is_android; then
    test_that "the static library has no name of Rust's" has_no_rust_names "$dist/libclopos_auth.a" "$binutils"
    test_that "Android 5 and the NDK have what it needs" android_has_the_rest
    test_that "a function that they lack would be noticed" notices_what_android_lacks
    exit
fi
unstripped=()
is_windows || unstripped=("$builds/$target/release/libclopos_auth.so")
test_that "its size is the recorded one" tests/size.sh "$target" "$dist/$(shared_name)" "${unstripped[@]}"
sed -n 's/^ *[0-9]* .* %  /'"$target"': &/p' "$work/check.log"
test_that "it exports what the header declares and nothing else" exports_only_the_interface
test_that "the static library has no name of Rust's" has_no_rust_names "$dist/libclopos_auth.a" "$binutils"
test_that "it needs only what the system has" needs_only_the_system
[ -z "$glibc" ] || test_that "it loads with glibc $glibc" needs_no_newer_glibc
test_that "a C program compiles" compile tests/platforms/smoke.c "$dist" "$work/windows/smoke"
test_that "a C program signs in over TLS" run_program "$dist" "$work/windows/smoke"
test_that "a C program signs in with the static library" signs_in_statically
test_that "the doctor signs in" doctor_signs_in
! is_windows || test_that "a message loop gets a token without waiting" gets_a_token_in_a_message_loop
# Not under qemu: it ends with an assertion of its own when a program with threads forks.
[[ ${runner[0]:-} = qemu-* ]] ||
    test_that "every function keeps its word at every moment of a process" keeps_its_word_at_every_moment
test_that "it builds with a panic on purpose" build_injected
test_that "a panic is contained" run_program "$injected" "$work/windows/smoke" panic
if is_windows; then
    test_that "a program signs in that is compiled and linked as with Visual Studio" links_as_visual_studio_does
fi
if [[ $target = i686-*-windows-gnu ]]; then
    test_that "a panic is contained beside libgcc_s_dw2-1.dll" contains_a_panic_beside_libgcc
    run_dotnet
fi
if [[ $target = armv7-* ]]; then
    test_that "firmware.c signs in with 256 KiB of stack" test_firmware
    grep '^peak' "$work/check.log"
fi
if [ -n "${CLOPOS_TEST_TIDY:-}" ] && has_sandbox && [ "$sandbox_target" = "$target" ]; then
    test_that "the sandbox of its archive is built" build_release_sandbox
fi
printf '%s: %d bytes, %d s\n' "$target" "$(stat -Lc %s "$dist/$(shared_name)")" $((SECONDS - start))
