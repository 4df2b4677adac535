# shellcheck shell=bash
# Sourced by the scripts in tests/ that run tests: how a test is run and how its result is told. Sets $root,
# which becomes the current folder, and $work, a folder that is removed at the end.
#
# A result is one line: "ok - NAME", "not ok - NAME" or "skipped - WHY". It is printed, and appended to the
# file CLOPOS_TEST_RESULTS for the runner, which counts these lines and nothing else.

set -u
# shellcheck source=examples/tools.sh
. "$(dirname "${BASH_SOURCE[0]}")/../examples/tools.sh"
cd "$root" || exit 1
# shellcheck source=tests/toolchains.sh
. tests/toolchains.sh

: "${CLOPOS_TEST_RESULTS:=/dev/null}"
export CLOPOS_TEST_RESULTS

work=$(mktemp -d) || exit 1
# A script with more to clean up defines a function of this name.
clean_up() { :; }
# A script in which a test failed has failed.
test_failed=0
end() {
    local status=$? job
    # What two_at_a_time has started: each is a process group.
    for job in $(jobs -p); do kill -- "-$job" 2>/dev/null; done
    clean_up
    rm -rf "$work"
    exit $((status == 0 ? test_failed : status))
}
trap end EXIT
trap 'exit 1' INT TERM
# Some tests give up root on the way.
chmod 711 "$work"

# result WORD TEXT
result() {
    # A result that is not written would be a test that is not counted.
    echo "$1 - $2" | tee -a "$CLOPOS_TEST_RESULTS" || exit 1
}
passed() { result ok "$1"; }
skipped() { result skipped "$*"; }

# failed NAME FILE: what FILE holds says why.
failed() {
    test_failed=1
    result "not ok" "$1"
    sed 's/^/    /' "$2"
}

# check NAME COMMAND...: a test is a command that succeeds. What it prints is shown only if it fails.
check() {
    if "${@:2}" >"$work/check.log" 2>&1; then
        passed "$1"
    else
        failed "$1" "$work/check.log"
        return 1
    fi
}

# two_at_a_time COMMAND ITEM...: a process for each item, which runs "COMMAND ITEM" with a folder of its own as $work. What
# it says is shown when it has ended.
two_at_a_time() {
    local item running=0
    set -m # so that each is a process group
    for item in "${@:2}"; do
        if [ "$running" = 2 ]; then wait -n || test_failed=1; else running=$((running + 1)); fi
        one_of_two "$1" "$item" &
    done
    for (( ; running > 0; running--)); do wait -n || test_failed=1; done
    set +m
}

one_of_two() {
    test_failed=0 work=$work/${2##*/}
    mkdir "$work" || exit
    "$1" "$2" >"$work.output" 2>&1 || test_failed=1
    cat "$work.output"
    exit "$test_failed"
}

# In what tests/ahead.sh runs: whether the part that it is for has begun.
has_begun() { [ -n "${CLOPOS_TEST_BEGUN:-}" ] && [ -e "$CLOPOS_TEST_BEGUN" ]; }

# skip_all WHY...: the part cannot run here.
skip_all() {
    skipped "$*"
    exit 1
}

# built COMMAND...: builds what the tests start. If that fails it is one failure, and the end of the part.
built() {
    "$@" >"$work/build.log" 2>&1 && return
    failed "it builds: $*" "$work/build.log"
    exit 1
}

# tool_tests NAME COMMAND...: a tool that appends its own results to CLOPOS_TEST_RESULTS. That it appends none, or
# fails without one that failed, is a failure, too.
tool_tests() {
    local results=$CLOPOS_TEST_RESULTS status=0
    local -x CLOPOS_TEST_RESULTS=$work/tool.results
    : >"$CLOPOS_TEST_RESULTS"
    "${@:2}" || status=$?
    cat "$CLOPOS_TEST_RESULTS" >>"$results"
    if ! grep -q '^not ok ' "$CLOPOS_TEST_RESULTS"; then
        [ "$status" != 0 ] || [ ! -s "$CLOPOS_TEST_RESULTS" ] || return 0
        CLOPOS_TEST_RESULTS=$results
        result "not ok" "$1: it ended with status $status and these results: $(wc -l <"$work/tool.results")"
    fi
    test_failed=1
    return 1
}

# What runs the Rust tests; part coverage has another.
NEXTEST=(cargo nextest run)

# rust_tests NAME ARGUMENT...: runs Rust tests with cargo-nextest, each in a process of its own.
rust_tests() {
    need_nextest || skip_all "$1: cargo-nextest is missing"
    tool_tests "$1" nextest "$1" "${@:2}"
}

# The counts come from nextest's own report, in JUnit's format.
nextest() {
    local status=0
    cat >"$work/nextest.toml" <<END
[store]
dir = "$work/nextest"

[profile.default]
slow-timeout = { period = "60s", terminate-after = 10 }

[profile.default.junit]
path = "junit.xml"
store-success-output = true
END
    "${NEXTEST[@]}" --config-file "$work/nextest.toml" --no-fail-fast --status-level slow --final-status-level none \
        --show-progress none "${@:2}" || status=$?
    [ -e "$work/nextest/default/junit.xml" ] && tests/junit.py "$1" "$work/nextest/default/junit.xml" || return 1
    return "$status"
}

# The version in Cargo.toml.
crate_version() {
    sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1
}

# The time that is in what a release has: the commit's, or SOURCE_DATE_EPOCH's.
need_source_date() {
    if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
        need git git && SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) || return
    fi
    export SOURCE_DATE_EPOCH
}

target_directory() {
    local directory=${CARGO_TARGET_DIR:-target}
    mkdir -p "$directory" && cd "$directory" && pwd
}

host() {
    rustc -vV | sed -n 's/^host: //p'
}

# Whether the caller's $target is one of Windows.
is_windows() {
    [[ ${target:?} = *-windows-* ]]
}

# Whether it is one of Android: there is only a static library, which nothing here can link or run. That takes the NDK.
is_android() {
    [[ ${target:?} = *-android* ]]
}

# has_no_rust_names LIBRARY [PREFIX]: all that the static library defines bears its own name, but for what the compiler
# calls, which every library may define.
has_no_rust_names() {
    "${2:-}nm" --extern-only --defined-only "$1" | awk 'NF == 3 { print $3 }' | sort -u >"$work/names"
    grep -q '^_\?clopos_auth_get_token$' "$work/names" && ! grep -E '^_?(_ZN|_R|_*rust_|ring_core_|DW\.ref\.rust_)' "$work/names"
}

# c_tests NAME FILTER: runs those of the C interface's tests, also those that only run when they are asked for.
c_tests() {
    rust_tests "$1" --test c --run-ignored all -E "$2"
}

# The C tests that run several threads, without those that fork. The library's code is the same for all builds.
# shellcheck disable=SC2034 # used by the parts
THREADED_C_TESTS='test(/^c99_shared::.*(thread|cancel_wakes|freeing_a_client_waits|never_called_after|may_free_its_client)/)'

# build_sanitized NAME OPTION...: the shared library, instrumented; no build script is, since there is a target.
# Optimised a little: without that, the library's own threads have too little stack for ThreadSanitizer.
build_sanitized() {
    RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=$1" CARGO_PROFILE_DEV_OPT_LEVEL=1 \
        cargo rustc --lib --crate-type cdylib --target "$(host)" --target-dir "$(target_directory)/$1" "${@:2}"
}

# go_tests NAME OPTION...: go test, whose results come from its own JSON.
go_tests() {
    local status=0
    go test -C examples/go -count=1 -json "${@:2}" ./... >"$work/go.json" || status=$?
    tests/go_results.py "$1" "$work/go.json" && return "$status"
}
