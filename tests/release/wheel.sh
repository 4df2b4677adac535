#!/usr/bin/env bash
# Makes Python's wheels from the archives in target/archives.
#
#     tests/release/wheel.sh TARGET...
#
# For each of these that has one: target/archives/clopos_auth-VERSION-py3-none-PLATFORM.whl, and beside it is its
# SHA-256 sum. In it are the package, the shared library, the types, the licence texts and the SBOM. The same archive
# makes the same bytes.

# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"
# shellcheck source=tests/platforms/target.sh
. tests/platforms/target.sh
# shellcheck source=tests/release/wheels.sh
. tests/release/wheels.sh

unpack() {
    mkdir -p "$2" || return
    case $1 in
    *-windows-*) python3 -m zipfile -e "target/archives/$1.zip" "$2" ;;
    *) tar -C "$2" -xf "target/archives/$1.tar.xz" ;;
    esac
}

make_wheel() {
    local name tag wheel
    name=libclopos_auth-$(crate_version)-$1
    tag=$(wheel_tag "$1") && unpack "$name" "$work/$1" &&
        wheel=$(tests/release/wheel.py "$tag" "$work/$1/$name" target/archives) && cd target/archives &&
        sha256sum "$wheel" | tee "$wheel.sha256" && cd "$root" && rm -rf "${work:?}/$1"
}

[ $# != 0 ] || { echo "usage: tests/release/wheel.sh TARGET..., of: $(tests/platforms.sh --list | xargs)" >&2; exit 2; }
umask 022
need python3 python3 && need xz xz-utils && need_source_date || exit 1
for wanted in "$@"; do
    ! has_wheel "$wanted" || make_wheel "$wanted" || exit 1
done
