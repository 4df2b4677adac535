#!/usr/bin/env bash
# Makes Debian's packages from the archives in target/archives, with debhelper.
#
#     tests/release/deb.sh TARGET...
#
# For each of these that Debian has: target/archives/libclopos-auth1_VERSION_ARCH.deb has the shared library,
# libclopos-auth-dev_VERSION_ARCH.deb what a program is built with. tests/release/debian says what goes where. The same
# archive makes the same bytes.

# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"
# shellcheck source=tests/platforms/target.sh
. tests/platforms/target.sh
# shellcheck source=tests/release/debian.sh
. tests/release/debian.sh

# The newest glibc that the library asks for.
newest_glibc() {
    "${binutils}readelf" --version-info --wide "$1" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -V | tail -n 1
}

# The folder $1 is an unpacked archive: debhelper's files go beside what it packs.
prepare() {
    local multiarch version
    multiarch=$(dpkg-architecture -a "$architecture" -q DEB_HOST_MULTIARCH) && version=$(crate_version) &&
        cp -R tests/release/debian "$1/debian" || return
    cat >"$1/debian/changelog" <<END
clopos-auth ($version) unstable; urgency=medium

  * See CHANGELOG.md.

 -- $(sed -n 's/^Maintainer: //p' tests/release/debian/control)  $(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")
END
    # In a package the files are where Debian has them.
    sed -i "s,^prefix=.*,prefix=/usr,; s,^libdir=.*,libdir=\${prefix}/lib/$multiarch," "$1/lib/pkgconfig/clopos_auth.pc"
}

# The folder $work/$name is the unpacked archive.
make_packages() {
    local -x NEWEST_GLIBC
    local package name
    name=libclopos_auth-$(crate_version)-$1
    choose "$1" && architecture=$(debian_architecture "$1") && tar -C "$work" -xf "target/archives/$name.tar.xz" &&
        prepare "$work/$name" &&
        NEWEST_GLIBC=$(newest_glibc "$work/$name/lib/libclopos_auth.so") && [ -n "$NEWEST_GLIBC" ] || return
    (cd "$work/$name" && dpkg-buildpackage --build=binary --host-arch "$architecture" --no-check-builddeps --no-sign) \
        >"$work/deb.log" 2>&1 || { cat "$work/deb.log" >&2; return 1; }
    mv "$work"/*_"$architecture".deb target/archives/ && cd target/archives || return
    for package in *_"$architecture".deb; do sha256sum "$package" | tee "$package.sha256"; done
    cd "$root" || return
}

[ $# != 0 ] || { echo "usage: tests/release/deb.sh TARGET..., of: ${DEBIAN_TARGETS[*]}" >&2; exit 2; }
umask 022
need_debian_tools && need_source_date || exit 1
for wanted in "$@"; do
    [[ " ${DEBIAN_TARGETS[*]} " != *" $wanted "* ]] || make_packages "$wanted" || exit 1
done
