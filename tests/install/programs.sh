# shellcheck shell=bash
# Sourced by who has the library in the folder $prefix, with PKG_CONFIG_PATH set: builds programs that find
# it there, in the folder $work, and runs them.

runs() {
    LD_LIBRARY_PATH=${prefix:?}/lib "$1"
}

# through_pkg_config PROGRAM COMPILER...
through_pkg_config() {
    # shellcheck disable=SC2046 # words are wanted
    "${@:2}" $(pkg-config --cflags --libs clopos_auth) -o "${work:?}/$1" && runs "$work/$1"
}

# The same: "--static" makes pkg-config tell what the static library needs.
through_pkg_config_static() {
    local libraries
    libraries=$(pkg-config --static --libs clopos_auth) || return
    # Both libraries lie there; this is how a program says that it wants the static one.
    libraries=${libraries//-lclopos_auth/-l:libclopos_auth.a}
    # shellcheck disable=SC2046,SC2086 # words are wanted
    "${@:2}" $(pkg-config --cflags clopos_auth) $libraries -o "$work/$1" &&
        ! readelf -d "$work/$1" | grep -F 'libclopos_auth' && runs "$work/$1"
}

builds_with_cmake() {
    cmake -S tests/install -B "$work/cmake" -DCMAKE_PREFIX_PATH="$prefix" && cmake --build "$work/cmake"
}
