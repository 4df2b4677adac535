#!/usr/bin/env bash
# Fuzzes: each target for a minute, or for SECONDS, two at a time.
#
#     tests/fuzz/run.sh [SECONDS [TARGET...]]
#
# Starts from the corpus, whose inputs are kept small and readable; what it finds on the way goes to
# target/fuzz/corpus and serves the next run. "ok - TARGET", or "not ok - TARGET" and where the
# input lies that does it, for `cargo fuzz run --fuzz-dir tests/fuzz TARGET FILE`.
#
# Needs a C++ compiler; installs cargo-fuzz into target/toolchains.

set -u
# shellcheck source=examples/tools.sh
. "$(dirname "$0")/../../examples/tools.sh"
cd "$root" || exit 1
# shellcheck source=tests/toolchains.sh
. tests/toolchains.sh

seconds=${1:-60}
shift $(($# > 0))
if [ $# = 0 ]; then
    set -- response retry pem settings c_interface
fi
need_rust && need_cargo_fuzz || exit 1

# Sanitizers and coverage are options that a stable compiler has, but does not promise.
export RUSTC_BOOTSTRAP=1
output=$root/target/fuzz
cargo fuzz build --fuzz-dir tests/fuzz --target-dir "$output" || exit 1
programs=$(dirname "$(find "$output" -path '*-linux-*/release/response' | head -n 1)")

fuzz() {
    mkdir -p "$output/corpus/$1" "$output/artifacts/$1"
    # Threads of the library outlive an input, and allocate while the next one runs.
    "$programs/$1" "$output/corpus/$1" "tests/fuzz/corpus/$1" -max_total_time="$seconds" \
        -timeout=20 -rss_limit_mb=3072 -print_final_stats=1 -artifact_prefix="$output/artifacts/$1/" \
        >"$output/$1.log" 2>&1
}

# Waits for one that runs, and says what it came to.
report() {
    if wait "$2"; then
        echo "ok - $1: $(sed -n 's/^stat::number_of_executed_units: *//p' "$output/$1.log") inputs"
    else
        status=1
        echo "not ok - $1"
        tail -n 40 "$output/$1.log"
    fi
}

status=0
running=()
trap 'kill "${running[@]#*:}" 2>/dev/null' EXIT
for target in "$@"; do
    if [ "${#running[@]}" = 2 ]; then
        report "${running[0]%:*}" "${running[0]#*:}"
        running=("${running[@]:1}")
    fi
    fuzz "$target" &
    running+=("$target:$!")
done
for one in "${running[@]}"; do
    report "${one%:*}" "${one#*:}"
done
running=()
exit "$status"
