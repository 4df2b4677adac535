# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # used by the scripts that source this; set by tests/common.sh
# Sourced after tests/common.sh: the platforms, what each of them needs, and how the library is built for it.

# What takes longest comes first: they are tested two at a time.
TARGETS=(
    x86_64-unknown-linux-gnu
    x86_64-unknown-linux-musl
    x86_64-win7-windows-gnu
    i686-win7-windows-gnu
    i686-unknown-linux-gnu
    aarch64-unknown-linux-gnu
    armv7-unknown-linux-gnueabihf
    aarch64-linux-android
    armv7-linux-androideabi
)

# Nothing here builds or runs programs for these: that the code compiles is all that is known.
CHECKED=(
    aarch64-apple-darwin
    x86_64-apple-darwin
    aarch64-apple-ios
    x86_64-unknown-freebsd
    aarch64-pc-windows-gnullvm
    i686-unknown-linux-musl
)

# choose TARGET: sets what the functions below go by.
choose() {
    target=$1
    dist=target/platforms/$target/dist injected=target/platforms/$target/injected
    # A folder for each target, although serde's macros are built in each: cargo builds one thing at a time in a folder.
    builds=target/platforms/$target/build
    # Linux has one sandbox: musl's is static.
    sandbox_target=$target
    [[ $target != x86_64-*-linux-gnu ]] || sandbox_target=x86_64-unknown-linux-musl
    release_sandbox=target/platforms/$sandbox_target/clopos-sandbox
    ! is_windows || release_sandbox+=.exe
    describe "$target"
    flags="--remap-path-prefix=$root=. --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo"
    flags="$flags --remap-path-prefix=/usr/src=rust"
    # A shared library beside a C library that is one, too.
    [[ $target != *-musl ]] || flags="$flags -Ctarget-feature=-crt-static"
}

# The oldest glibc that the library may need, what stands before the names of binutils' programs, and what runs a program
# of the target here.
describe() {
    glibc='' binutils='' runner=() zig_target='' packages=()
    case $1 in
    x86_64-unknown-linux-gnu) glibc=2.17 zig_target=x86_64-linux-gnu.2.17 ;;
    i686-unknown-linux-gnu)
        glibc=2.17 zig_target=x86-linux-gnu.2.17
        runner=(/lib/ld-linux.so.2)
        packages=(libc6-i386)
        ;;
    aarch64-unknown-linux-gnu)
        glibc=2.28 binutils=aarch64-linux-gnu- zig_target=aarch64-linux-gnu.2.28
        runner=(qemu-aarch64 -L /usr/aarch64-linux-gnu)
        packages=(qemu-user libc6-arm64-cross)
        ;;
    armv7-unknown-linux-gnueabihf)
        glibc=2.28 binutils=arm-linux-gnueabihf- zig_target=arm-linux-gnueabihf.2.28
        runner=(qemu-arm -L /usr/arm-linux-gnueabihf)
        packages=(qemu-user libc6-armhf-cross)
        ;;
    x86_64-unknown-linux-musl)
        zig_target=x86_64-linux-musl
        runner=(/lib/ld-musl-x86_64.so.1)
        packages=(musl)
        ;;
    x86_64-win7-windows-gnu)
        binutils=x86_64-w64-mingw32- runner=(/usr/lib/wine/wine64)
        packages=(wine64)
        ;;
    i686-win7-windows-gnu) binutils=i686-w64-mingw32- runner=(tests/platforms/debian32.sh "$WINE32") ;;
    aarch64-linux-android) binutils=aarch64-linux-gnu- ;;
    armv7-linux-androideabi) binutils=arm-linux-gnueabihf- ;;
    *)
        echo "no platform is named $1; there are: ${TARGETS[*]}" >&2
        exit 2
        ;;
    esac
}

# The file of this target's shared library.
shared_name() {
    if is_windows; then echo clopos_auth.dll; else echo libclopos_auth.so; fi
}

need_tools() {
    local tools=(need_debian_rust "need readelf binutils")
    if is_windows; then
        local machine=${target%%-*}
        tools+=("need ${binutils}gcc gcc-mingw-w64-${machine/_/-}" "need llvm-dlltool llvm" "need clang clang" "need lld-link lld")
    elif is_android; then
        tools+=("need clang clang" "need ${binutils}objcopy binutils-${binutils%-}")
    else
        tools+=(need_zig "need ${binutils}objcopy binutils${binutils:+-${binutils%-}}")
    fi
    case ${runner[0]:-} in
    '') ;;
    tests/platforms/debian32.sh) tools+=(need_wine32) ;;
    *) tools+=("need ${runner[0]} ${packages[*]}") ;;
    esac
    need_each "${tools[@]}"
}

# Sets $link, options for the linker. rsbegin.o and rsend.o register the tables that a panic is unwound by with the unwinder
# in the DLL; rustc has them for other targets, but not for this one. Without them MinGW's start code registers the tables
# with libgcc_s_dw2-1.dll, if the host has loaded that, and a panic ends the host.
link_options() {
    local name objects=target/platforms/$target
    link=()
    [[ $target = i686-*-windows-gnu ]] || return 0
    mkdir -p "$objects" || return
    for name in rsbegin rsend; do
        RUSTC_BOOTSTRAP=1 /usr/bin/rustc --target "$target" --emit=obj -C panic=abort -o "$objects/$name.o" \
            "/usr/lib/rustlib/src/rust/library/rtstartup/$name.rs" || return
    done
    # Relative to this folder, so that the bytes are the same in every folder.
    link=("-Zpre-link-args=$objects/rsbegin.o" -C "link-arg=$objects/rsend.o")
}

# cargo_for_target CARGO_ARGUMENT... -- RUSTC_ARGUMENT...
cargo_for_target() {
    local command=(/usr/bin/cargo rustc) where=$target c_flags=-g0 link
    link_options || return
    if is_windows; then
        # The crate cc does not know these targets.
        local -x "CC_${target//-/_}=${binutils}gcc" "AR_${target//-/_}=${binutils}ar"
    elif is_android; then
        # clang has the headers of C itself; ring's code needs no other.
        set -- "${@/cdylib,/}"
        c_flags='-g0 -nostdlibinc -DRING_CORE_NOSTDLIBINC=1'
        [[ $target != armv7-* ]] || c_flags+=' -march=armv7-a -mfloat-abi=softfp'
        local -x "CC_${target//-/_}=clang" "AR_${target//-/_}=${binutils}ar"
    else
        command=(cargo-zigbuild rustc) where=$target${glibc:+.$glibc}
    fi
    # Everything that is compiled here ships, so it may know nothing of this machine's folders: ring's C
    # code would bring debug information with their names along.
    CFLAGS=$c_flags RUSTC=/usr/bin/rustc CARGO=/usr/bin/cargo RUSTC_BOOTSTRAP=1 RUSTFLAGS=$flags \
        "${command[@]}" --target "$where" --target-dir "$builds" \
        -Zbuild-std=std,panic_unwind -Zbuild-std-features=panic-unwind,optimize_for_size "$@" "${link[@]}"
}

# Into the directory $1 goes what cargo_for_target has built.
collect() {
    local from=$builds/$target/release
    rm -rf "$1" && mkdir -p "$1" && cp "$from/libclopos_auth.a" "$1/" &&
        rename_rust_names "$1/libclopos_auth.a" "$binutils" || return
    if is_windows; then
        cp "$from/clopos_auth.dll" "$from/libclopos_auth.dll.a" "$1/" &&
            declared_functions include | import_library clopos_auth "$1"
    elif ! is_android; then
        "${binutils}strip" -o "$1/libclopos_auth.so" "$from/libclopos_auth.so" &&
            ln -s libclopos_auth.so "$1/libclopos_auth.so.1"
    fi
}

# import_library NAME FOLDER: Visual Studio's import library NAME.lib for NAME.dll, for the functions that stdin names.
import_library() {
    local machine=i386:x86-64
    [[ $target != i686-* ]] || machine=i386
    { printf 'LIBRARY %s.dll\nEXPORTS\n' "$1" && cat; } >"$2/$1.def" &&
        llvm-dlltool -k -m "$machine" -d "$2/$1.def" -l "$2/$1.lib"
}

# alone COMMAND...: while nothing else builds the target. Run by tests/ahead.sh, it does nothing once the part has begun.
alone() (
    lock "target/platforms/$target/lock" || exit
    has_begun || "$@" 9>&-
)

build() { alone build_shipped; }

# A shared library for Linux is stripped by collect, not by the compiler: its names tell what takes the space. A DLL's have
# no sizes.
build_shipped() {
    local strip=(-C strip=none)
    ! is_windows || strip=()
    cargo_for_target "${SHIPPED[@]}" -- "${strip[@]}" && collect "$dist"
}

# The same with a panic on purpose in it. What unwinds, and the tables that it goes by, do not depend on the optimisation,
# which takes most of the time of a build.
build_injected() {
    cargo_for_target "${SHIPPED[@]}" -- --cfg clopos_inject_panic -C opt-level=0 && collect "$injected"
}

# The platforms of machines that tests run on.
has_sandbox() {
    [[ $target = x86_64-* ]]
}

build_release_sandbox() { (choose "$sandbox_target" && need_tools && alone build_sandbox_for_target); }

# In the library's profile, so that both share one standard library. Only its dependencies are optimised.
build_sandbox_for_target() {
    local options=(-C lto=thin -C opt-level=0)
    # zig has what starts a static program.
    [[ $target != *-musl ]] || options+=(-C target-feature=+crt-static -C link-self-contained=no)
    cargo_for_target --release --package clopos-sandbox --bin clopos-sandbox -- "${options[@]}" &&
        cp "$builds/$target/release/${release_sandbox##*/}" "$release_sandbox"
}

# check_only TARGET...: what Rust compiles, with the target's standard library. No C compiler has the headers of all of them;
# what ring has in C is left out: `true` compiles it, also as clang, which ring asks for by name. Any SDKROOT keeps the
# crate cc from looking for Apple's.
check_only() {
    ln -sf "$(type -P true)" "$work/clang"
    SDKROOT=/usr TARGET_CC=true TARGET_AR=true PATH=$work:$PATH RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 \
        /usr/bin/cargo check --lib --keep-going "${@/#/--target=}" --target-dir target/platforms/checked \
        -Zbuild-std=std,panic_unwind -Zbuild-std-features=panic-unwind
}

# zig's headers of the C library use C11 inside their macros.
WARNINGS=(-std=c99 -Wall -Wextra -Wpedantic -Werror -Wno-c11-extensions)

# compile_static SOURCE OUTPUT OPTION...: a program on the static library alone, of every object that it needs.
compile_static() {
    if is_windows; then
        "${binutils}gcc" -static "${WARNINGS[@]}" -O2 -Iinclude "$1" "$dist/libclopos_auth.a" "${@:3}" \
            -lws2_32 -lntdll -luserenv -ladvapi32 -lcrypt32 -lbcrypt -lshell32 -o "$2.exe"
        return
    fi
    local libraries=()
    [[ $target = *-musl ]] || libraries=(-lpthread -ldl -lm)
    zig cc -target "$zig_target" "${WARNINGS[@]}" -O2 -Iinclude "$1" \
        "$dist/libclopos_auth.a" "${libraries[@]}" -lunwind "${@:3}" -o "$2"
}
