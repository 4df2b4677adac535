# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # read by start_sandbox; set by tests/common.sh
# Sourced after tests/common.sh: the tests of a release sign in to the sandbox that is in its archive.

# start_packaged_sandbox: that of this machine's archive in target/archives.
start_packaged_sandbox() {
    local name
    name=libclopos_auth-$(crate_version)-x86_64-unknown-linux-gnu
    tar -C "$work" -xf "target/archives/$name.tar.xz" "$name/bin/clopos-sandbox" || return
    sandbox_command=("$work/$name/bin/clopos-sandbox")
    start_sandbox
}
