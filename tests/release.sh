#!/usr/bin/env bash
# Makes what a release has, from what tests/platforms.sh builds, in target/archives.
#
#     tests/release.sh TARGET...    an archive for each of these platforms
#     tests/release.sh all          for all platforms, and the packages that are made from the archives
#
# An archive is libclopos_auth-VERSION-TARGET.tar.xz (.zip for Windows), and beside it is its SHA-256 sum. In it are
# both libraries and the doctor (for Android the static library only), both headers, what pkg-config and CMake find them by,
# on x86-64 the sandbox, the packages of the other languages, the examples, the licence texts of everything that is linked
# in, SBOMs and the sum of each file.
#
# The same sources and the same compilers (the SBOM names them) make the same bytes, in any folder. The time
# in it is the commit's, or SOURCE_DATE_EPOCH's.

# shellcheck source=tests/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=tests/platforms/target.sh
. tests/platforms/target.sh

# Each is made by the script of this name in tests/release, and tested by test_NAME.sh there.
PACKAGES=(deb nupkg wheel go_module)

# is_old FILE SOURCE...: it is not there, or older than what it is made of.
is_old() {
    [ ! -e "$1" ] || [ -n "$(find "${@:2}" -newer "$1")" ]
}

build_library_if_old() {
    ! is_old "$dist/libclopos_auth.a" src build.rs Cargo.toml Cargo.lock || tests/platforms.sh --build "$target" >&2
}

build_sandbox_if_old() {
    ! has_sandbox || ! is_old "$release_sandbox" tests/sandbox/src tests/sandbox/Cargo.toml Cargo.toml Cargo.lock ||
        build_release_sandbox
}

# pc_file PRIVATE LIBRARY...: wherever the archive is unpacked, pkg-config finds the rest from this file.
pc_file() {
    cat <<END_OF_FILE
prefix=\${pcfiledir}/../..
includedir=\${prefix}/include
libdir=\${prefix}/lib

Name: clopos_auth
Description: $(sed -n 's/^description = "\(.*\)"/\1/p' Cargo.toml)
Version: $version
Libs: -L\${libdir} -lclopos_auth
Libs.private: $*
Cflags: -I\${includedir}
END_OF_FILE
}

# copy FROM TO: a folder of sources without what programs leave there.
copy() {
    mkdir -p "$2" && tar -C "$1" --exclude=.gitignore --exclude=__pycache__ --exclude=obj --exclude=bin -cf - . |
        tar -C "$2" -xf -
}

# What is not the library itself, into the folder $1.
fill_beside() {
    local options=(-s)
    # shellcheck disable=SC2054 # the comma belongs to the option
    ! is_windows || options+=(-Wl,--no-insert-timestamp)
    cp tests/release/archive/* CHANGELOG.md LICENSE-MIT LICENSE-APACHE "$1" && mkdir -p "$1/bindings/cpp" &&
        cp include/clopos_auth.hpp "$1/bindings/cpp" && copy examples/c "$1/examples/c" &&
        copy examples/cpp "$1/examples/cpp" && copy examples/go "$1/bindings/go" &&
        copy examples/dotnet "$1/bindings/dotnet" && copy examples/python "$1/bindings/python" || return
    # A program for Android is linked by the NDK.
    ! is_android || return 0
    mkdir "$1/bin" && compile_static examples/c/doctor.c "$1/bin/clopos-doctor" "${options[@]}" || return
    # What is linked into the sandbox stands apart: it is no part of a program that uses the library.
    ! has_sandbox || { cp "$release_sandbox" "$1/bin/" && mkdir -p "$1/share/clopos-sandbox" &&
        tests/release/components.py "$sandbox_target" "$1/share/clopos-sandbox" clopos-sandbox; }
}

# Everything in the folder $1.
fill() {
    local private=(-lpthread -ldl -lm)
    mkdir -p "$1/include" "$1/lib/pkgconfig" "$1/share/clopos_auth/cmake" &&
        cp include/*.h include/*.hpp "$1/include" &&
        cp include/cmake/*.cmake "$1/share/clopos_auth/cmake" &&
        fill_beside "$1" && cp "$dist/libclopos_auth.a" "$1/lib" || return
    if is_windows; then
        private=(-lkernel32 -lntdll -luserenv -lws2_32 -ladvapi32 -lcrypt32 -lbcrypt)
        cp "$dist/clopos_auth.dll" "$1/bin" &&
            cp "$dist/libclopos_auth.dll.a" "$dist/clopos_auth.lib" "$1/lib"
    elif is_android; then
        private=(-ldl)
    else
        cp "$dist/libclopos_auth.so" "$1/lib/libclopos_auth.so.$version" &&
            ln -s "libclopos_auth.so.$version" "$1/lib/libclopos_auth.so.${version%%.*}" &&
            ln -s "libclopos_auth.so.${version%%.*}" "$1/lib/libclopos_auth.so"
    fi || return
    pc_file "${private[@]}" >"$1/lib/pkgconfig/clopos_auth.pc" &&
        tests/release/components.py "$target" "$1" clopos_auth || return
    # What the builder's umask and clock would leave.
    find "$1" -type d -exec chmod 755 {} + && find "$1" -type f -exec chmod 644 {} + &&
        find "$1" -path '*/bin/clopos-*' -exec chmod 755 {} + || return
    (cd "$1" && find . -type f | sort | sed 's,^\./,,' | xargs -d '\n' sha256sum >"$work/sums" &&
        mv "$work/sums" SHA256SUMS && chmod 644 SHA256SUMS) &&
        find "$1" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
}

# pack FOLDER: prints the archive's name.
pack() {
    if is_windows; then
        (cd "$work" && TZ=UTC python3 -m zipfile -c "$1.zip" "$1") && echo "$1.zip"
    else
        (cd "$work" && tar --sort=name --format=gnu --owner=0 --group=0 --numeric-owner -cf "$1.tar" "$1" &&
            xz -T1 -9e "$1.tar") && echo "$1.tar.xz"
    fi
}

# No path of the machine that built it is in what ships.
knows_no_folder() {
    ! grep -r -l -F -e "$root" -e "${CARGO_HOME:-$HOME/.cargo}" -e /usr/src/rustc "$1"
}

release() {
    # choose() sets packages, too.
    local name archive packages
    choose "$1"
    name=libclopos_auth-$version-$target
    build_library_if_old && build_sandbox_if_old && fill "$work/$name" || return
    if ! knows_no_folder "$work/$name"; then
        echo "a path of this machine is in $target's library" >&2
        return 1
    fi
    archive=$(pack "$name") && mkdir -p target/archives && mv "$work/$archive" target/archives/ &&
        (cd target/archives && sha256sum "$archive" >"$archive.sha256" && cat "$archive.sha256") &&
        rm -rf "${work:?}/$name"
}

[ $# != 0 ] || { echo "usage: tests/release.sh all | TARGET..., of: $(tests/platforms.sh --list | xargs)" >&2; exit 2; }
umask 022
export LC_ALL=C
version=$(crate_version)
need_rust && need_zig && need_debian_rust && need xz xz-utils && need python3 python3 && need_source_date || exit 1
packages=()
if [ "$*" = all ]; then
    packages=("${PACKAGES[@]}")
    # shellcheck disable=SC2046 # words are wanted
    set -- $(tests/platforms.sh --list)
fi
for wanted in "$@"; do
    release "$wanted" || exit 1
done
for package in "${packages[@]}"; do
    "tests/release/$package.sh" "$@" || exit 1
done
