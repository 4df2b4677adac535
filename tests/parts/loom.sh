#!/usr/bin/env bash
# every interleaving of three threads around one sign-in (or those with up to five interruptions), with loom
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

CARGO_TARGET_DIR=$(target_directory)/loom
export CARGO_TARGET_DIR
rust_tests loom --locked --manifest-path tests/loom/Cargo.toml
