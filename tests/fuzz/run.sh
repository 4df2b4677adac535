#!/usr/bin/env bash
# Fuzzes: each target for a minute, or for SECONDS, two at a time.
#
#     tests/fuzz/run.sh [SECONDS [TARGET...]]
#
# Starts from the corpus, whose inputs are kept small and readable; what it finds on the way goes to
# target/fuzz/corpus and serves the next run. A failure names the input that leads to it, for
# `cargo fuzz run --fuzz-dir tests/fuzz TARGET FILE`.
#
# Needs a C++ compiler; installs cargo-fuzz into target/toolchains.

# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

seconds=${1:-60}
shift $(($# > 0))
if [ $# = 0 ]; then
    set -- response retry pem settings c_interface
fi
need_rust && need_cargo_fuzz || exit 1

# Sanitizers and coverage are options that a stable compiler has, but does not promise.
export RUSTC_BOOTSTRAP=1
output=$root/target/fuzz
# AddressSanitizer's runtime comes with Rust, but not with Debian's.
sanitizer=address
if ! compgen -G "$(rustc --print target-libdir)/librustc*_rt.asan.a" >/dev/null; then
    sanitizer=none
    echo "this Rust brings no AddressSanitizer: the targets run without it"
fi
built cargo fuzz build --fuzz-dir tests/fuzz --target-dir "$output" --sanitizer "$sanitizer"
programs=$(dirname "$(find "$output" -path '*-linux-*/release/response' | head -n 1)")

fuzz() {
    mkdir -p "$output/corpus/$1" "$output/artifacts/$1"
    # -rss_limit_mb: threads of the library outlive an input, and allocate while the next one runs.
    if "$programs/$1" "$output/corpus/$1" "tests/fuzz/corpus/$1" -max_total_time="$seconds" \
        -timeout=20 -rss_limit_mb=3072 -print_final_stats=1 -artifact_prefix="$output/artifacts/$1/" \
        >"$output/$1.log" 2>&1; then
        passed "$1: $(sed -n 's/^stat::number_of_executed_units: *//p' "$output/$1.log") inputs"
    else
        tail -n 40 "$output/$1.log" >"$work/tail"
        failed "$1" "$work/tail"
    fi
}

two_at_a_time fuzz "$@"
