#!/usr/bin/env bash
# Runs the list in behaviours.md.
#
#     tests/wrappers/run.sh cpp go             these languages
#     tests/wrappers/run.sh cpp-asan           a variant of one, as its build script knows them
#     ONLY="signs_in no_leak" tests/wrappers/run.sh python
#
# Builds the library and the sandbox first (into CARGO_TARGET_DIR). If CLOPOS_AUTH_LIBRARIES is set, the library in that
# folder is tested.

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

status=0
for wanted in "$@"; do
    language=${wanted%%-*} variant=
    [ "$language" = "$wanted" ] || variant=${wanted#*-}
    mkdir "$work/$wanted"
    if ! "tests/wrappers/$language/build" "$work/$wanted" "$variant" >"$work/build.log" 2>&1; then
        failed "$wanted is built" "$work/build.log"
        status=1
        continue
    fi
    # shellcheck disable=SC2086 # ONLY is a list
    python3 tests/wrappers/driver.py "$language" "$variant" "$work/$wanted/behaviours" \
        "$(target_directory)/debug/clopos-sandbox" ${ONLY:-} || status=1
done
exit "$status"
