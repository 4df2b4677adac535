# shellcheck shell=bash
# shellcheck disable=SC2154 # set by target.sh
# Sourced after tests/common.sh and tests/platforms/target.sh: what a platform is called in a wheel's name.

# Python for Android comes inside an app, which pip installs nothing into.
has_wheel() {
    [[ $1 != *-android* ]]
}

# wheel_tag TARGET: glibc's oldest version is in the name, as PEP 600 has it; PEP 656 for musl.
wheel_tag() {
    local machine=${1%%-*}
    describe "$1"
    case $machine in armv7) machine=armv7l ;; esac
    case $1 in
    *-linux-gnu*) echo "manylinux_${glibc/./_}_$machine" ;;
    # The musl that it is tested with.
    *-linux-musl*) echo "musllinux_1_2_$machine" ;;
    x86_64-*-windows-*) echo win_amd64 ;;
    i686-*-windows-*) echo win32 ;;
    *)
        echo "no wheel is known for $1" >&2
        return 1
        ;;
    esac
}
