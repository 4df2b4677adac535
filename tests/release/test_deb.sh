#!/usr/bin/env bash
# Tests Debian's packages: that lintian finds no error, that the same bytes are made again, and that a minimal Debian
# installs them, builds with them, runs what it built, and removes them.

# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"
# shellcheck source=tests/release/sandbox.sh
. tests/release/sandbox.sh
# shellcheck source=tests/release/debian.sh
. tests/release/debian.sh
# shellcheck source=tests/platforms/target.sh
. tests/platforms/target.sh

# The two packages for the machine $1.
packages() {
    printf '%s\n' "target/archives/libclopos-auth1_${version}_$1.deb" "target/archives/libclopos-auth-dev_${version}_$1.deb"
}

has_no_errors() {
    # shellcheck disable=SC2046 # words are wanted
    lintian --fail-on error --allow-root --tag-display-limit 0 $(packages "$1")
}

notices_an_error() {
    local folder=$work/without_copyright
    dpkg-deb -R "target/archives/libclopos-auth1_${version}_amd64.deb" "$folder" &&
        rm "$folder/usr/share/doc/libclopos-auth1/copyright" && dpkg-deb --root-owner-group -b "$folder" "$work/bad.deb" &&
        ! lintian --fail-on error --allow-root "$work/bad.deb" >"$work/lintian" && grep no-copyright-file "$work/lintian"
}

# depends_on_at_most GLIBC MACHINE
depends_on_at_most() {
    local wanted
    wanted=$(dpkg-deb -f "target/archives/libclopos-auth1_${version}_$2.deb" Depends | sed -n 's/.*libc6 (>= \(.*\)).*/\1/p') &&
        echo "it depends on libc6 $wanted" && [ -n "$wanted" ] && [ "$(printf '%s\n' "$wanted" "$1" | sort -V | tail -n 1)" = "$1" ]
}

# makes_the_same_again MACHINE TARGET
makes_the_same_again() {
    local kept=$work/kept-$1 file
    mkdir -p "$kept"
    # shellcheck disable=SC2046 # words are wanted
    cp $(packages "$1") "$kept" && (umask 077 && TZ=Asia/Baku tests/release/deb.sh "$2") || return
    for file in "$kept"/*; do cmp "$file" "target/archives/${file##*/}" || return; done
}

# A Debian with a compiler and pkg-config, and without anything of this project.
makes_a_minimal_debian() {
    debootstrap --variant=minbase --include=gcc,libc6-dev,pkgconf bookworm "$system" &&
        cp /etc/hosts "$system/etc/hosts" && cp "$CLOPOS_CA_FILE" "$system/ca.pem" && cp tests/platforms/smoke.c "$system/"
}

# inside COMMAND: in the minimal Debian.
inside() {
    CLOPOS_CA_FILE=/ca.pem unshare --mount --pid --fork --kill-child --root="$system" --wd=/ --mount-proc \
        env -u LD_LIBRARY_PATH PATH=/usr/sbin:/usr/bin:/sbin:/bin bash -eu -c "$1"
}

installs() {
    # shellcheck disable=SC2046 # words are wanted
    cp $(packages amd64) "$system/" && inside 'apt-get install --yes /*.deb'
}

builds_and_signs_in() {
    inside "cc -std=c99 smoke.c $1 -o program && ./program"
}

removes() {
    # shellcheck disable=SC2016 # expanded inside
    inside 'apt-get purge --yes libclopos-auth1 && test -z "$(find / -xdev -name "*clopos_auth*" -o -xdev -name "*clopos-auth*" |
        grep -v "\.deb$")"'
}

clean_up() { stop_sandbox; }

version=$(crate_version)
system=$work/debian
if [ "$(id -u)" != 0 ] || ! need_debian_tools || ! need lintian lintian || ! need debootstrap debootstrap ||
    ! need unshare util-linux; then
    skip_all "Debian's packages: root or a tool is missing"
fi
start_packaged_sandbox || exit 1
for target in "${DEBIAN_TARGETS[@]}"; do
    [ -e "target/archives/libclopos_auth-$version-$target.tar.xz" ] || continue
    architecture=$(debian_architecture "$target")
    check "packages for $architecture are made" tests/release/deb.sh "$target"
    check "the same packages are made again ($architecture)" makes_the_same_again "$architecture" "$target"
    check "lintian finds no error in them ($architecture)" has_no_errors "$architecture"
    choose "$target"
    check "they depend on no newer C library than the platform's ($architecture)" depends_on_at_most "$glibc" "$architecture"
done
check "lintian finds an error" notices_an_error
check "a minimal Debian is made" makes_a_minimal_debian
check "it installs the packages" installs
# shellcheck disable=SC2016 # expanded inside
check "a C program, found by pkg-config, signs in there, shared" builds_and_signs_in '$(pkg-config --cflags --libs clopos_auth)'
# shellcheck disable=SC2016 # expanded inside
check "… and static" builds_and_signs_in \
    '$(pkg-config --cflags clopos_auth) -l:libclopos_auth.a $(pkg-config --static --libs-only-l clopos_auth | sed s/-lclopos_auth//)'
check "it removes them without a trace" removes
