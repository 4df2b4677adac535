# shellcheck shell=bash
# Builds programs with the library that is installed in the folder $prefix, and runs them. To be sourced, with $work
# and PKG_CONFIG_PATH set.

runs() {
    LD_LIBRARY_PATH=${prefix:?}/lib "$1"
}

# through_pkg_config PROGRAM COMPILER...
through_pkg_config() {
    # shellcheck disable=SC2046 # words are wanted
    "${@:2}" $(pkg-config --cflags --libs clopos_auth) -o "${work:?}/$1" && runs "$work/$1"
}

# The same with the static library. "--static" adds the libraries that it needs.
through_pkg_config_static() {
    local libraries
    libraries=$(pkg-config --static --libs clopos_auth) || return
    # Both libraries are in the folder; this chooses the static one.
    libraries=${libraries//-lclopos_auth/-l:libclopos_auth.a}
    # shellcheck disable=SC2046,SC2086 # words are wanted
    "${@:2}" $(pkg-config --cflags clopos_auth) $libraries -o "$work/$1" &&
        ! readelf -d "$work/$1" | grep -F 'libclopos_auth' && runs "$work/$1"
}

builds_with_cmake() {
    cmake -S tests/install -B "$work/cmake" -DCMAKE_PREFIX_PATH="$prefix" && cmake --build "$work/cmake"
}
