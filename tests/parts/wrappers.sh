#!/usr/bin/env bash
# one list of behaviours, in every language
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

# In a copy: MSBuild writes beside the sources.
packs_native_libraries() {
    local source=$work/package/Clopos.Auth
    mkdir -p "$work/package" && cp -R examples/dotnet/Clopos.Auth "$work/package/" &&
        mkdir -p "$source/runtimes/linux-x64/native" "$source/runtimes/win-x64/native" &&
        echo linux >"$source/runtimes/linux-x64/native/libclopos_auth.so" &&
        echo windows >"$source/runtimes/win-x64/native/clopos_auth.dll" &&
        dotnet pack -c Release -o "$work/package" "$source" &&
        tests/wrappers/check_package.py "$work"/package/*.nupkg
}

{ need_c_tools && need python3 python3; } || skip_all "the wrappers: a compiler, libcurl or Python is missing"
languages=(c cpp c-asan cpp-asan python)
if need clang clang; then languages+=(cpp-clang); else skipped "C++ with clang"; fi
if need_go; then
    languages+=(go go-static go-race)
    if need pkg-config pkg-config; then languages+=(go-pkgconfig); else skipped "Go with pkg-config"; fi
else
    skipped "Go"
fi
if need_dotnet; then
    languages+=(dotnet)
    if need_mono; then languages+=(dotnet-mono); else skipped "Mono"; fi
    check "the .NET package brings its native libraries along" packs_native_libraries
else
    skipped ".NET"
fi
tool_tests "wrappers" tests/wrappers/run.sh "${languages[@]}"
