#!/usr/bin/env bash
# a minute of each fuzz target
# run: all
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

# CLOPOS_TEST_FUZZ_S: how many seconds for each target.
need_cargo_fuzz || skip_all "fuzzing: a C++ compiler or cargo-fuzz is missing"
tool_tests "fuzz targets" tests/fuzz/run.sh "${CLOPOS_TEST_FUZZ_S:-60}"
