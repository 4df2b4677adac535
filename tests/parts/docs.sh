#!/usr/bin/env bash
# the Rust documentation builds without a warning, and its examples compile
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

# Why "--examples": see build_sandbox in examples/tools.sh.
RUSTDOCFLAGS="-D warnings" check "the documentation builds without a warning" \
    cargo doc --no-deps --workspace --lib --examples
check "the examples in the documentation compile" cargo test --doc --workspace
