#!/usr/bin/env bash
# cargo-c installs the library, and programs find it with pkg-config and CMake
# ahead: need_cargo_c
# ahead: need cmake cmake make
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"
# shellcheck source=tests/install/programs.sh
. tests/install/programs.sh

# The installed files do not depend on the optimisation, which takes most of the time of a build.
install_library() {
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 cargo cinstall --release --prefix "$prefix" --libdir "$prefix/lib" --target-dir "$build" || return
    # From now on programs have only the installed files.
    mv "$build" "$build.away"
}

has_every_file() {
    local file
    for file in include/clopos_auth.h include/clopos_auth.hpp lib/libclopos_auth.a \
        lib/libclopos_auth.so lib/libclopos_auth.so.1 "lib/libclopos_auth.so.$version" \
        lib/pkgconfig/clopos_auth.pc share/clopos_auth/cmake/clopos_auth-config.cmake \
        share/clopos_auth/cmake/clopos_auth-config-version.cmake; do
        [ -e "$prefix/$file" ] || { echo "missing: $file"; return 1; }
    done
    cmp include/clopos_auth.h "$prefix/include/clopos_auth.h" &&
        cmp include/clopos_auth.hpp "$prefix/include/clopos_auth.hpp"
}

# The same SONAME as in the library that plain cargo builds.
has_one_soname() {
    readelf -d "$prefix/lib/libclopos_auth.so" | grep -o 'soname: .*' >"$work/soname"
    cat "$work/soname"
    [ "$(cat "$work/soname")" = "soname: [libclopos_auth.so.${version%%.*}]" ]
}

exports_the_interface() {
    diff --label header <(declared_functions include) --label library \
        <(nm -D --defined-only "$prefix/lib/libclopos_auth.so" | awk '{ print $3 }' | sed 's/@.*//' | sort)
}

refuses_another_major() {
    sed 's/clopos_auth 1.0/clopos_auth 2.0/' tests/install/CMakeLists.txt >"$work/newer.txt"
    mkdir "$work/newer" && cp "$work/newer.txt" "$work/newer/CMakeLists.txt" &&
        ! cmake -S "$work/newer" -B "$work/newer/build" -DCMAKE_PREFIX_PATH="$prefix" 2>"$work/newer.log" &&
        grep -F "version: $version" "$work/newer.log"
}

build=$root/target/install
prefix=$work/prefix
clean_up() {
    stop_sandbox
    [ ! -e "$build.away" ] || mv "$build.away" "$build"
}

version=$(crate_version)
need_each need_rust need_cargo_c "need c++ g++" "need cmake cmake make" "need pkg-config pkg-config" \
    "need readelf binutils" || skip_all "installing: a tool is missing"
start_sandbox || exit 1
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
check "cargo cinstall installs to a prefix" install_library
check "both libraries, both headers, pkg-config's and CMake's files are installed" has_every_file
check "the shared library has one SONAME" has_one_soname
check "the shared library exports what the header declares and nothing else" exports_the_interface
check "pkg-config knows the version" pkg-config --exact-version="$version" clopos_auth
warnings=(-Wall -Wextra -Wpedantic -Werror)
c=(cc -std=c99 "${warnings[@]}" tests/platforms/smoke.c)
cpp=(c++ -std=c++17 "${warnings[@]}" tests/install/sign_in.cpp)
check "a C program signs in, found by pkg-config, shared" through_pkg_config c "${c[@]}"
check "a C program signs in, found by pkg-config, static" through_pkg_config_static c-static "${c[@]}"
check "a C++ program signs in, found by pkg-config, shared" through_pkg_config cpp "${cpp[@]}"
check "a C++ program signs in, found by pkg-config, static" through_pkg_config_static cpp-static "${cpp[@]}"
check "a program that is built with the header of 1.0 signs in" \
    through_pkg_config old "${c[@]}" -Itests/abi/1.0
check "CMake finds the package" builds_with_cmake
for program in c-shared c-static cpp-shared cpp-static; do
    check "CMake's $program signs in" runs "$work/cmake/$program"
done
check "CMake refuses a program that requires another major version" refuses_another_major
