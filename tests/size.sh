#!/usr/bin/env bash
# Says how large a stripped shared library is, and fails where it is over 3 % larger than recorded.
#
#     tests/size.sh TARGET FILE
#
# tests/sizes has a line "TARGET BYTES" for each target.

set -u
if [ $# != 2 ] || [ ! -f "$2" ]; then
    echo "usage: tests/size.sh TARGET FILE" >&2
    exit 2
fi
size=$(stat -Lc %s "$2") || exit 1
recorded=$(awk -v target="$1" '$1 == target { print $2 }' "$(dirname "$0")/sizes")
if [ -z "$recorded" ]; then
    echo "tests/sizes has no line for $1; it is $size bytes now" >&2
    exit 1
fi
echo "$1: $size bytes, $recorded recorded"
[ $((size * 100)) -le $((recorded * 103)) ]
