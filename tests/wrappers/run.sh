#!/usr/bin/env bash
# Runs the list in behaviours.md.
#
#     tests/wrappers/run.sh cpp go             these languages
#     tests/wrappers/run.sh cpp-asan           a variant, see the language's build script
#     ONLY="signs_in no_leak" tests/wrappers/run.sh python
#
# Builds the library and the sandbox first (into CARGO_TARGET_DIR). If CLOPOS_AUTH_LIBRARIES is set, it tests the
# library in that folder.

# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

[ $# != 0 ] || { echo "usage: $0 LANGUAGE[-VARIANT]..." >&2; exit 2; }

built build_sandbox
if [ -z "${CLOPOS_AUTH_LIBRARIES:-}" ]; then
    built build_library
    CLOPOS_AUTH_LIBRARIES=$(target_directory)/release
fi
export CLOPOS_AUTH_INCLUDE=$root/include CLOPOS_AUTH_LIBRARIES
export LD_LIBRARY_PATH=$CLOPOS_AUTH_LIBRARIES${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

# behaviours LANGUAGE-VARIANT
behaviours() {
    local language=${1%%-*} variant='' folder=$work/$1
    [ "$language" = "$1" ] || variant=${1#*-}
    mkdir "$folder"
    if ! nice -n 10 "tests/wrappers/$language/build" "$folder" "$variant" >"$folder.build" 2>&1; then
        failed "$1 is built" "$folder.build"
        return 1
    fi
    # shellcheck disable=SC2086 # ONLY is a list
    python3 tests/wrappers/driver.py "$language" "$variant" "$folder/behaviours" \
        "$(target_directory)/debug/clopos-sandbox" ${ONLY:-}
}

# Two at a time: most behaviours wait for their sandbox. The output of each is printed when it has ended. Each is a
# process group, so that all of it can be ended.
clean_up() {
    local job
    for job in $(jobs -p); do kill -- "-$job" 2>/dev/null; done
}
set -m
running=0
for wanted in "$@"; do
    if [ "$running" = 2 ]; then wait -n || test_failed=1; else running=$((running + 1)); fi
    { behaviours "$wanted" >"$work/$wanted.log" 2>&1; status=$?; cat "$work/$wanted.log"; exit "$status"; } &
done
for (( ; running > 0; running--)); do wait -n || test_failed=1; done
