#!/bin/sh
# Runs the list in behaviours.md.
#
#     tests/wrappers/run.sh cpp go             these languages
#     tests/wrappers/run.sh cpp-asan           a variant of one, as its build script knows them
#     ONLY="signs_in no_leak" tests/wrappers/run.sh python
#
# Builds the library and the sandbox first (into CARGO_TARGET_DIR). Each language ends with
# "N passed, N failed"; so do all together.

set -eu
cd "$(dirname "$0")/../.."

[ $# != 0 ] || { echo "usage: $0 LANGUAGE[-VARIANT]..." >&2; exit 2; }

cargo rustc --quiet --release --lib --crate-type cdylib,staticlib
# Unoptimised: it builds in a quarter of the time, and is fast enough.
cargo build --quiet -p clopos-sandbox
target=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)

CLOPOS_AUTH_INCLUDE=$PWD/include
CLOPOS_AUTH_LIBRARIES=$target/release
LD_LIBRARY_PATH=$CLOPOS_AUTH_LIBRARIES${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export CLOPOS_AUTH_INCLUDE CLOPOS_AUTH_LIBRARIES LD_LIBRARY_PATH
# The file that a program's loader looks for.
ln -sf libclopos_auth.so "$CLOPOS_AUTH_LIBRARIES/libclopos_auth.so.1"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

passed=0 failed=0
for wanted in "$@"; do
    language=${wanted%%-*} variant=
    [ "$language" = "$wanted" ] || variant=${wanted#*-}
    mkdir "$work/$wanted"
    if "tests/wrappers/$language/build" "$work/$wanted" "$variant" >"$work/build.log" 2>&1; then
        # shellcheck disable=SC2086 # ONLY is a list
        python3 tests/wrappers/driver.py "$language" "$variant" "$work/$wanted/behaviours" \
            "$target/debug/clopos-sandbox" ${ONLY:-} 2>&1 | tee "$work/out"
    else
        echo "not ok - $wanted cannot be built"
        sed 's/^/    /' "$work/build.log"
        : >"$work/out"
    fi
    # A driver that crashed has no last line, and counts as one failure.
    counts=$(sed -n '$s/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$work/out")
    counts=${counts:-0 1}
    passed=$((passed + ${counts% *})) failed=$((failed + ${counts#* }))
done

[ $# = 1 ] && [ -s "$work/out" ] || echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
