#!/usr/bin/env bash
# the Go package's own tests
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

need_go || skip_all "Go is missing"
built build_library
built build_sandbox
target=$(target_directory)
export CGO_CFLAGS=-I$root/include CGO_LDFLAGS=-L$target/release LD_LIBRARY_PATH=$target/release
export CLOPOS_SANDBOX=$target/debug/clopos-sandbox
check "go vet finds nothing" go vet -C examples/go ./...
tool_tests "go test with the race detector" go_tests "go -race" -race
GODEBUG=cgocheck=1 tool_tests "go test with cgo's checks" go_tests "go"
