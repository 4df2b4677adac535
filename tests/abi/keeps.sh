#!/usr/bin/env bash
# Fails if a header does not keep what the records in this folder declare: numbers, fields and their offsets, functions.
#
#     tests/abi/keeps.sh FOLDER COMPILER...    checks the header in FOLDER, with this C compiler

# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

for record in tests/abi/*/clopos_auth.h; do
    # Both headers in one program: the recorded one with other names.
    sed 's/clopos_auth_/recorded_/g; s/CLOPOS_AUTH_/RECORDED_/g' "$record" >"$work/recorded.h" &&
        awk -f tests/abi/kept.awk "$record" >"$work/kept.c" &&
        "${@:2}" -std=c11 -ffreestanding "-I$work" "-I$1" -c "$work/kept.c" -o "$work/kept.o" || exit
done
