#!/usr/bin/env bash
# one list of behaviours, in every language
# ahead: need_dotnet
# ahead: need_mono
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

{ need_c_tools && need python3 python3; } || skip_all "the wrappers: a compiler, libcurl or Python is missing"
# The whole list, and only that it works at all: the latter are the same code, compiled or linked in another way.
languages=(c cpp c-asan cpp-asan python) other_builds=()
if need clang clang; then other_builds+=(cpp-clang); else skipped "C++ with clang"; fi
if need_go; then
    languages+=(go-race)
    other_builds+=(go go-static)
    if need pkg-config pkg-config; then other_builds+=(go-pkgconfig); else skipped "Go with pkg-config"; fi
else
    skipped "Go"
fi
if need_dotnet; then
    languages+=(dotnet)
    if need_mono; then languages+=(dotnet-mono); else skipped "Mono"; fi
else
    skipped ".NET"
fi
tool_tests "wrappers" tests/wrappers/run.sh "${languages[@]}"
[ ${#other_builds[@]} = 0 ] ||
    ONLY="signs_in log_lines ends_without_close no_leak" tool_tests "other builds of the wrappers" \
        tests/wrappers/run.sh "${other_builds[@]}"
