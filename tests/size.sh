#!/usr/bin/env bash
# Says how large a stripped shared library is, and fails where it is over 3 % larger than recorded, or over what
# is promised.
#
#     tests/size.sh TARGET FILE [UNSTRIPPED]
#
# tests/sizes has a line "TARGET BYTES" for each target. With the same library unstripped, it says what each
# crate adds: the sizes of its functions and data. A generic function counts for the crate that wrote it.
# What has a plain C name is ring's, which brings all the C and assembly but the unwinder's. Constants without a
# name, unwind tables and relocations count for none.

set -u
if [ $# -lt 2 ] || [ ! -f "$2" ]; then
    echo "usage: tests/size.sh TARGET FILE [UNSTRIPPED]" >&2
    exit 2
fi

# by_crate FILE BYTES
by_crate() {
    nm -S -C "$1" | awk -v all="$2" '
        # Address, size, kind, name; two names of one thing have one address.
        NF < 4 || $2 !~ /^[0-9a-f]+$/ || tolower($3) !~ /[tdrvw]/ || ($1 $2) in seen { next }
        {
            seen[$1 $2]
            size = 0
            for (i = 1; i <= length($2); i++) size = size * 16 + index("0123456789abcdef", substr($2, i, 1)) - 1
            name = $0
            sub(/^[^ ]+ [^ ]+ [^ ]+ /, "", name)
            while (sub(/^(<|&|\(|\[|\*|mut |const |dyn |for<[^>]*> |impl |unsafe |extern "C" )/, "", name));
            if (name ~ /^ring_core_/) name = "ring"
            else if (name ~ /^clopos_auth_/) name = "clopos_auth"
            else if (name ~ /^(_?_?unw_|_Unwind_|libunwind)/) name = "libunwind"
            else if (name ~ /^(anon|switch|GCC_except_table|\.)/) next
            else if (name ~ /^(__rust|rust_)/) name = "std"
            else if (name ~ /^[A-Za-z][A-Za-z0-9_.]*$/) name = "ring"
            else if (!sub(/::.*/, "", name) || name !~ /^[a-z_0-9]+$/) name = "(others)"
            sizes[name] += size
            named += size
        }
        END {
            for (name in sizes) if (sizes[name] >= 1024) print sizes[name], name
            if (named > 0) print all - named, "(no name)"
            exit named == 0
        }' | sort -rn | awk '{ printf "%9d  %4.1f %%  %s\n", $1, $1 * 100 / '"$2"', substr($0, length($1) + 2) }'
    [ "${PIPESTATUS[1]}" = 0 ]
}

size=$(stat -Lc %s "$2") || exit 1
recorded=$(awk -v target="$1" '$1 == target { print $2 }' "$(dirname "$0")/sizes")
if [ -z "$recorded" ]; then
    echo "tests/sizes has no line for $1; it is $size bytes now" >&2
    exit 1
fi
case $1 in
x86_64-*) limit=1900000 ;;
armv7-*) limit=1500000 ;;
*) limit=$((recorded * 103 / 100)) ;;
esac
echo "$1: $size bytes, $recorded recorded, at most $limit"
if [ $# = 3 ]; then
    by_crate "$3" "$size" || { echo "nothing in $3 has a name and a size" >&2; exit 1; }
fi
[ $((size * 100)) -le $((recorded * 103)) ] && [ "$size" -le "$limit" ]
