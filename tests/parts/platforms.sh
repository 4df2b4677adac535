#!/usr/bin/env bash
# the library for every platform, and programs that run on it
# run: all
# ahead: need_wine32
# ahead: need /usr/lib/wine/wine64 wine64
# ahead: need qemu-arm qemu-user libc6-arm64-cross libc6-armhf-cross
# ahead: tests/platforms.sh --build $(tests/platforms.sh --list)
# ahead: tests/platforms.sh --check $(tests/platforms.sh --list-checked)
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

# shellcheck disable=SC2046 # words are wanted
tool_tests "platforms" tests/platforms.sh --tidy $(tests/platforms.sh --list)
# shellcheck disable=SC2046 # words are wanted
tool_tests "checked platforms" tests/platforms.sh --check $(tests/platforms.sh --list-checked)
