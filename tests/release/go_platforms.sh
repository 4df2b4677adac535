# shellcheck shell=bash
# shellcheck disable=SC2034 # used by the scripts that source this
# Sourced after tests/common.sh: Go's names of the platforms, GOOS_GOARCH. Left out:
# x86_64-unknown-linux-musl, which has Go's name of the one for glibc; aarch64-linux-android and armv7-linux-androideabi, which
# only the NDK links.

declare -A GO_PLATFORMS=(
    [x86_64-unknown-linux-gnu]=linux_amd64
    [aarch64-unknown-linux-gnu]=linux_arm64
    [armv7-unknown-linux-gnueabihf]=linux_arm
    [i686-unknown-linux-gnu]=linux_386
    [x86_64-win7-windows-gnu]=windows_amd64
    [i686-win7-windows-gnu]=windows_386
)

# Fails for a target that Go does not have.
go_platform() {
    [ -n "${GO_PLATFORMS[$1]:-}" ] && echo "${GO_PLATFORMS[$1]}"
}
