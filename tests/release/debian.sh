# shellcheck shell=bash
# Sourced after tests/common.sh: which of the platforms Debian has, and what packages are made and tested with.
# Left out: i686-unknown-linux-gnu, for which Debian 13 has no kernel; what is not Debian: x86_64-unknown-linux-musl,
# x86_64-win7-windows-gnu, i686-win7-windows-gnu, aarch64-linux-android, armv7-linux-androideabi.

DEBIAN_TARGETS=(x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu armv7-unknown-linux-gnueabihf)

# Debian's name of a target's machine.
debian_architecture() {
    case $1 in
    x86_64-unknown-linux-gnu) echo amd64 ;;
    aarch64-unknown-linux-gnu) echo arm64 ;;
    armv7-unknown-linux-gnueabihf) echo armhf ;;
    *)
        echo "there is no Debian package for $1; there are: ${DEBIAN_TARGETS[*]}" >&2
        return 1
        ;;
    esac
}

need_debian_tools() {
    need dh debhelper dpkg-dev binutils-aarch64-linux-gnu binutils-arm-linux-gnueabihf && need xz xz-utils
}
