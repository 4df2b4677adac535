#!/usr/bin/env bash
# simulated days of many stores, with the optimised library
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

# Only this crate is optimised: its dependencies are built as for all tests. With debug assertions the simulation has
# a hundredth of the stores.
crate=profile.dev.package.clopos_auth
rust_tests simulation --config "$crate.opt-level=3" --config "$crate.debug-assertions=false" --test simulation
