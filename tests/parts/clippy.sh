#!/usr/bin/env bash
# clippy finds nothing, with warnings as errors
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

need_cargo_tool clippy rust-clippy || skip_all "cargo clippy is missing"
check "clippy finds nothing" cargo clippy --workspace --all-targets -- -D warnings
