#!/usr/bin/env bash
# the Go package's own tests
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

# There is one error, which says what is missing.
says_what_is_missing() {
    CGO_ENABLED=0 go build -C examples/go . >"$work/no_cgo" 2>&1 && return 1
    cat "$work/no_cgo"
    [ "$(grep -c '^\./' "$work/no_cgo")" = 1 ] && grep -q 'cloposauth_needs_cgo__set_CGO_ENABLED_to_1' "$work/no_cgo"
}

# The folder is copied into other programs.
brings_its_licences() {
    cmp LICENSE-MIT examples/go/LICENSE-MIT && cmp LICENSE-APACHE examples/go/LICENSE-APACHE
}

need_go || skip_all "Go is missing"
built build_library
built build_sandbox
target=$(target_directory)
export CGO_CFLAGS=-I$root/include CGO_LDFLAGS=-L$target/release LD_LIBRARY_PATH=$target/release
export CLOPOS_SANDBOX=$target/debug/clopos-sandbox
check "go vet finds nothing" go vet -C examples/go ./...
check "without cgo the compiler says what is missing" says_what_is_missing
check "the Go package contains its licences" brings_its_licences
tool_tests "go test with the race detector" go_tests "go -race" -race
GODEBUG=cgocheck=1 tool_tests "go test with cgo's checks" go_tests "go"
