#!/usr/bin/env bash
# coverage: every line of the library is run by a Rust test, or explained
# run: all
# ahead: need_network_tools
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

if ! need_each need_network_tools "need kill procps" need_c_tools "need python3 python3" need_llvm_cov need_nextest; then
    # The tests run at least, unwatched.
    bash tests/parts/rust.sh
    skip_all "the coverage: a tool is missing"
fi
built_before=$(target_directory)/debug
export CARGO_TARGET_DIR=${built_before%/*}/coverage
folder=$CARGO_TARGET_DIR/llvm-cov-target
# The dependencies are not instrumented: what other parts have built will do. The workspace's own crates are built anew.
if [ ! -e "$folder" ] && [ -e "$built_before/deps" ]; then
    mkdir -p "$folder/debug" && cp -a "$built_before"/{deps,build,.fingerprint} "$folder/debug/"
fi
# Children of the tests that give up root write here as well.
mkdir -p "$folder" && chmod 777 "$folder"
built cargo llvm-cov clean --workspace
# shellcheck disable=SC2034 # for rust_tests
NEXTEST=(cargo llvm-cov --no-report nextest)
NEXTEST_TEST_THREADS=4 rust_tests coverage --workspace \
    -E 'not binary(simulation) and (not binary(c) or test(/^c99_shared::/))'
built cargo llvm-cov report --lcov --output-path "$work/lcov"

check "every line is run by a test or explained" tests/coverage.py "$work/lcov" tests/coverage.txt
grep '^|' "$work/check.log"
finds_an_unexplained_line() {
    sed '/clock.rs/,/^$/d' tests/coverage.txt >"$work/explanations"
    ! tests/coverage.py "$work/lcov" "$work/explanations" >"$work/found" &&
        grep 'clock.rs.* no test runs this' "$work/found"
}
check "a line that no test runs and no text explains is found" finds_an_unexplained_line
