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
    local language=${1%%-*} variant=''
    [ "$language" = "$1" ] || variant=${1#*-}
    if ! nice -n 10 "tests/wrappers/$language/build" "$work" "$variant" >"$work.build" 2>&1; then
        failed "$1 is built" "$work.build"
        return 1
    fi
    # shellcheck disable=SC2086 # ONLY is a list
    python3 tests/wrappers/driver.py "$language" "$variant" "$work/behaviours" \
        "$(target_directory)/debug/clopos-sandbox" ${ONLY:-}
}

# Most behaviours wait for their sandbox.
two_at_a_time behaviours "$@"
