#!/usr/bin/env bash
# Makes the Go package with the static libraries inside, from the archives in target/archives.
#
#     tests/release/go_module.sh TARGET...
#
# target/archives/libclopos_auth-VERSION-go.zip is examples/go with clopos_auth.h, and the library of each of these
# platforms that Go has in lib/GOOS_GOARCH: `go build` needs no variable. The same archives make the same bytes.

# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"
# shellcheck source=tests/release/go_platforms.sh
. tests/release/go_platforms.sh

# The static library and the licence texts of the archive of target $1.
add_library() {
    local name=libclopos_auth-$version-$1 platform
    platform=$(go_platform "$1") && mkdir -p "$module/lib/$platform" "$module/licenses" "$work/unpacked" || return
    if [[ $1 = *-windows-* ]]; then
        python3 -m zipfile -e "target/archives/$name.zip" "$work/unpacked"
    else
        tar -C "$work/unpacked" -xf "target/archives/$name.tar.xz"
    fi && cp "$work/unpacked/$name/lib/libclopos_auth.a" "$module/lib/$platform/" &&
        cp -R "$work/unpacked/$name/licenses/." "$module/licenses/" || return
    # Go copies only packages into a vendor folder, each with all of its files.
    cat >"$module/lib/$platform/lib.go" <<END
// Package $platform has the C library of this platform beside this file.
package $platform
END
    case $platform in
    linux_*) echo "-lpthread -lm -ldl" ;;
    windows_*) echo "-lcrypt32 -lws2_32 -luserenv -lntdll -lbcrypt" ;;
    esac >"$work/$platform.libraries"
}

# Chooses the library, unless a tag asks for another one.
link_bundled() {
    cat <<END
//go:build ($1) && !clopos_auth_shared && !clopos_auth_static && !clopos_auth_pkgconfig

package cloposauth

// #cgo CFLAGS: -I\${SRCDIR}
END
    local platform
    for platform in "${platforms[@]}"; do
        echo "// #cgo ${platform/_/,} LDFLAGS: \${SRCDIR}/lib/$platform/libclopos_auth.a $(cat "$work/$platform.libraries")"
    done
    printf '%s\n' 'import "C"' '' '// For go mod vendor.' 'import ('
    printf '\t_ "cloposauth/lib/%s"\n' "${platforms[@]}"
    echo ")"
}

# The shared library is for who asks for it, and for other platforms.
link_shared() {
    echo "//go:build (clopos_auth_shared || !($1)) && !clopos_auth_static && !clopos_auth_pkgconfig"
    tail -n +2 examples/go/link_shared.go
}

make_module() {
    local wanted platforms=() condition
    mkdir -p "$module" && cp -R examples/go/. "$module/" && cp include/clopos_auth.h "$module/" &&
        cp tests/release/go_module.md "$module/README.md" || return
    for wanted in $(printf '%s\n' "$@" | sort); do
        go_platform "$wanted" >/dev/null || continue
        add_library "$wanted" || return
    done
    mapfile -t platforms < <(ls "$module/lib")
    [ ${#platforms[@]} != 0 ] || { echo "there is no archive of a platform that Go has" >&2; return 1; }
    # linux_arm and linux_386: "(linux && arm) || (linux && 386)".
    condition=$(printf '%s\n' "${platforms[@]}" | sed 's/\(.*\)_\(.*\)/(\1 \&\& \2)/' | paste -s -d '|' | sed 's/|/ || /g')
    link_bundled "$condition" >"$module/link_bundled.go" && link_shared "$condition" >"$module/link_shared.go" &&
        gofmt -w "$module/link_bundled.go" "$module/link_shared.go" || return
    # What the builder's umask and clock would leave.
    find "$module" -type d -exec chmod 755 {} + && find "$module" -type f -exec chmod 644 {} + &&
        find "$module" -exec touch -d "@$SOURCE_DATE_EPOCH" {} +
}

[ $# != 0 ] || { echo "usage: tests/release/go_module.sh TARGET..., of: ${!GO_PLATFORMS[*]}" >&2; exit 2; }
umask 022
export LC_ALL=C TZ=UTC
version=$(crate_version)
archive=libclopos_auth-$version-go.zip module=$work/cloposauth
need_go && need python3 python3 && need xz xz-utils && need_source_date && make_module "$@" &&
    (cd "$work" && python3 -m zipfile -c "$archive" cloposauth) && mv "$work/$archive" target/archives/ &&
    cd target/archives && sha256sum "$archive" | tee "$archive.sha256"
