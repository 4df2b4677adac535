#!/usr/bin/env bash
# Builds the library for a platform as it ships there, and runs programs on it.
#
#     tests/platforms.sh TARGET...    builds and tests these, two at a time
#     tests/platforms.sh --list       the targets that there are
#     tests/platforms.sh --build TARGET...    builds only
#     tests/platforms.sh --tidy TARGET...     leaves what a release takes and nothing else, for disks that are small
#     tests/platforms.sh --check TARGET...    whether the code compiles for a platform that nothing here can build for
#     tests/platforms.sh --list-checked       those that there are
#
# What a release takes is then in target/platforms/TARGET/dist: the stripped shared library (not for Android), the static
# library and, for Windows, the import libraries; with --tidy, the sandbox is beside that folder where an archive has one.
#
# All are built in one way: Debian's Rust builds the standard library for the target, small and without the
# code that prints backtraces, and zig links for Linux, because it knows the C libraries of older systems
# and brings an unwinder of its own. The programs run on the real thing, under qemu or under Wine, against
# a sandbox on this machine, over TLS with a CA that they were given.

# shellcheck source=tests/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=tests/platforms/target.sh
. tests/platforms/target.sh

build_only=
case ${1:-} in
--list)
    printf '%s\n' "${TARGETS[@]}"
    exit
    ;;
--list-checked)
    printf '%s\n' "${CHECKED[@]}"
    exit
    ;;
--check)
    for wanted in "${@:2}"; do
        [[ " ${CHECKED[*]} " = *" $wanted "* ]] ||
            { echo "no platform that is only checked is named $wanted; there are: ${CHECKED[*]}" >&2; exit 2; }
    done
    need_each need_rust need_debian_rust || skip_all "the checked platforms: Rust is missing"
    # All at once takes less time; each by itself then tells its result.
    check_only "${@:2}" >"$work/check.log" 2>&1
    for wanted in "${@:2}"; do
        check "$wanted: the code compiles" check_only "$wanted"
    done
    exit
    ;;
--build) build_only=1 && shift ;;
--tidy) export CLOPOS_TEST_TIDY=1 && shift ;;
esac
[ $# != 0 ] || { echo "usage: tests/platforms.sh [--build | --tidy] TARGET..., of: ${TARGETS[*]}" >&2; exit 2; }

clean_up() { stop_sandbox; }

need_rust || exit 1
# One after the other: two at a time would install the same tools.
for wanted in "$@"; do
    choose "$wanted"
    # What runs its programs is not needed for a build.
    [ -z "$build_only" ] || runner=()
    need_tools || [ -z "$build_only" ] || exit 1
done
if [ -n "$build_only" ]; then
    for wanted in "$@"; do
        choose "$wanted" && build || exit 1
    done
    exit
fi
# Its own limit would be shared by all programs of all platforms.
# shellcheck disable=SC2034 # for start_sandbox
sandbox_options=(--requests-per-minute 0)
start_sandbox || exit 1
# For half of its time, a build is one thread.
two_at_a_time tests/platforms/test.sh "$@"
