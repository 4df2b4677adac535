#!/usr/bin/env bash
# Tests the Go package of a release in a module outside of this tree: that it builds without a variable, also from a vendor
# folder, and signs in; that it links for its other platforms; that the same bytes are made again.

# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"
# shellcheck source=tests/release/sandbox.sh
. tests/release/sandbox.sh
# shellcheck source=tests/release/go_platforms.sh
. tests/release/go_platforms.sh
# shellcheck source=tests/platforms/target.sh
. tests/platforms/target.sh

# A program of somebody who has unpacked the archive.
unpacks() {
    (cd target/archives && sha256sum -c "$archive.sha256") && mkdir -p "$till/third_party" &&
        python3 -m zipfile -e "target/archives/$archive" "$till/third_party" &&
        cp examples/go/login/main.go "$till/main.go" || return
    printf 'module till\n\ngo 1.24\n\nrequire cloposauth v0.0.0\n\nreplace cloposauth => ./third_party/cloposauth\n' >"$till/go.mod"
}

# go with nothing of this shell's environment but NAME=VALUE...; in $till.
plain_go() {
    local variables=()
    while [[ $1 = *=* ]]; do
        variables+=("$1") && shift
    done
    # The caches of go and zig save time and nothing else.
    (cd "$till" && env -i "PATH=$PATH" "HOME=$work/home" "GOCACHE=$cache" "ZIG_GLOBAL_CACHE_DIR=$HOME/.cache/zig" GOTOOLCHAIN=local GOPROXY=off "${variables[@]}" go "$@")
}

is_tidy() {
    [ -z "$(gofmt -l "$till/third_party/cloposauth")" ] && plain_go vet ./... cloposauth/...
}

builds_and_signs_in() {
    plain_go build -o "$work/till" . && ! readelf -d "$work/till" | grep -F clopos_auth && env -u LD_LIBRARY_PATH "$work/till" >/dev/null
}

# The folder is not even there.
builds_vendored() {
    local status=0
    plain_go mod vendor || return
    mv "$till/third_party" "$work/elsewhere"
    builds_and_signs_in || status=$?
    mv "$work/elsewhere" "$till/third_party" && rm -rf "$till/vendor" && return "$status"
}

runs_its_examples() {
    plain_go test -count=1 -run Example -v cloposauth >"$work/examples" && grep -q '^--- PASS: Example' "$work/examples"
}

# The shared library, where it is asked for.
takes_a_tag() {
    CLOPOS_AUTH_LIBRARIES=$work/$linux/lib
    plain_go "CGO_CFLAGS=-I$work/$linux/include" "CGO_LDFLAGS=-L$CLOPOS_AUTH_LIBRARIES" build "-tags=$1" -o "$work/till" . || return
    readelf -d "$work/till" | grep -F libclopos_auth >"$work/needed"
    [ "$(wc -l <"$work/needed")" = "$2" ] && LD_LIBRARY_PATH=$CLOPOS_AUTH_LIBRARIES "$work/till" >/dev/null
}

# The archive for musl, as the package's README says. The program is static: zig's musl is newer than Debian's.
signs_in_with_musl() {
    local folder=$work/libclopos_auth-$version-$1
    tar -C "$work" -xf "target/archives/${folder##*/}.tar.xz" && choose "$1" || return
    plain_go CGO_ENABLED=1 "CC=zig cc -target $zig_target" "CGO_CFLAGS=-I$folder/include" \
        "CGO_LDFLAGS=-L$folder/lib -lunwind" build -tags=clopos_auth_static \
        -ldflags=-extldflags=-static -o "$work/till-musl" . &&
        ! readelf -l "$work/till-musl" | grep INTERP && "$work/till-musl" >/dev/null
}

# links_for GOOS_GOARCH TARGET
links_for() {
    local compiler variables=() program=$work/till-$1
    case $1 in
    windows_*) compiler=${2%%-*}-w64-mingw32-gcc program=$program.exe ;;
    # zig brings an unwinder, which gcc links without being asked.
    *) compiler="zig cc -target ${zig_target:?}" variables=(CGO_LDFLAGS=-lunwind) ;;
    esac
    plain_go "GOOS=${1%_*}" "GOARCH=${1#*_}" CGO_ENABLED=1 "CC=$compiler" "${variables[@]}" build -o "$program" . && file "$program"
}

makes_the_same_again() {
    cp "target/archives/$archive" "$work/first.zip" &&
        (umask 077 && TZ=Asia/Baku tests/release/go_module.sh "${targets[@]}") && cmp "$work/first.zip" "target/archives/$archive"
}

clean_up() { stop_sandbox; }

version=$(crate_version)
archive=libclopos_auth-$version-go.zip till=$work/till-module linux=libclopos_auth-$version-x86_64-unknown-linux-gnu
if ! need_go || ! need python3 python3 || ! need readelf binutils || ! need file file || ! need xz xz-utils; then
    skip_all "the Go package of a release: a tool is missing"
fi
cache=$(go env GOCACHE)
start_packaged_sandbox || exit 1
targets=()
for target in "${!GO_PLATFORMS[@]}"; do
    compgen -G "target/archives/libclopos_auth-$version-$target.[tz]*" >/dev/null && targets+=("$target")
done
check "the Go package is made" tests/release/go_module.sh "${targets[@]}"
check "it is unpacked into a module of its own" unpacks
check "it is formatted, and go vet finds nothing" is_tidy
check "a program builds without a variable and signs in, with nothing beside it" builds_and_signs_in
check "… from its vendor folder" builds_vendored
check "the package's examples run" runs_its_examples
tar -C "$work" -xf "target/archives/$linux.tar.xz"
check "a tag links the shared library instead" takes_a_tag clopos_auth_shared 1
check "a tag links another static one" takes_a_tag clopos_auth_static 0
for target in "${targets[@]}"; do
    platform=${GO_PLATFORMS[$target]}
    [ "$platform" != linux_amd64 ] || continue
    choose "$target"
    if is_windows; then
        need "${target%%-*}-w64-mingw32-gcc" "gcc-mingw-w64-$(sed 's/-.*//; s/_/-/' <<<"$target")"
    else
        need_zig
    fi || { skipped "the Go package for $platform: a compiler is missing"; continue; }
    check "a program links for $platform" links_for "$platform" "$target"
done
musl=x86_64-unknown-linux-musl
if [ -e "target/archives/libclopos_auth-$version-$musl.tar.xz" ]; then
    if need_zig; then
        check "a tag links musl's static library, and the program signs in" signs_in_with_musl "$musl"
    else
        skipped "the Go package with musl: zig is missing"
    fi
fi
check "the same bytes are made again" makes_the_same_again
echo "$(stat -c %s "target/archives/$archive") bytes: $archive"
