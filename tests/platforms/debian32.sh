#!/usr/bin/env bash
# Runs a command in the Debian for i386 of need_wine32 (tests/toolchains.sh): tests/platforms/debian32.sh COMMAND... Only
# root can. Of this system the command sees the processes, this repository and the folder for temporary files.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck disable=SC2016 # expanded by the inner shell
exec unshare --mount bash -c '
    debian=$1/target/toolchains/wine32
    for folder in "$1" "${TMPDIR:-/tmp}"; do
        mkdir -p "$debian$folder" && mount --bind "$folder" "$debian$folder" || exit
    done
    mount -t proc proc "$debian/proc" && exec chroot "$debian" "${@:2}"
' debian32 "$root" "$@"
