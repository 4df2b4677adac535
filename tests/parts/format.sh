#!/usr/bin/env bash
# the Rust and Go code is formatted
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

gofmt_changes_nothing() {
    local unformatted
    unformatted=$(gofmt -l examples/go tests/wrappers/go tests/bench/go) && echo "$unformatted" && [ -z "$unformatted" ]
}

need_cargo_tool fmt rustfmt || skip_all "cargo fmt is missing"
for workspace in . tests/bench/rustls tests/fuzz tests/loom; do
    check "cargo fmt changes nothing in $workspace" \
        cargo fmt --all --check --manifest-path "$workspace/Cargo.toml"
done
if need_go; then
    check "gofmt changes nothing" gofmt_changes_nothing
else
    skipped "gofmt: Go is missing"
fi
