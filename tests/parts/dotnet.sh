#!/usr/bin/env bash
# the .NET package in an ASP.NET service, its files, and its message without the native library
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

need_dotnet || skip_all ".NET is missing"
need python3 python3 || skip_all "Python is missing"
built build_library
target=$(target_directory)
clean_up() { stop_sandbox; }

# In a copy, because MSBuild writes to the folders of the sources.
copy=$work/copy
mkdir -p "$copy/tests/wrappers" && cp -R examples LICENSE-* "$copy/" && cp -R tests/wrappers/hosting "$copy/tests/wrappers/"
native=$copy/examples/dotnet/Clopos.Auth/runtimes

packs_native_libraries() {
    mkdir -p "$native/linux-x64/native" "$native/win-x64/native" &&
        cp "$target/release/libclopos_auth.so" "$native/linux-x64/native/" &&
        echo windows >"$native/win-x64/native/clopos_auth.dll" &&
        dotnet pack -c Release -o "$work/package" "$copy/examples/dotnet/Clopos.Auth" &&
        tests/wrappers/check_package.py "$work"/package/*.nupkg linux-x64 win-x64
}

says_where_it_looked() {
    ! dotnet "$work/login/Login.dll" >"$work/login.log" 2>&1 && cat "$work/login.log" &&
        grep -q -F "DllNotFoundException: the native library libclopos_auth.so could not be loaded into this 64-bit process" \
            "$work/login.log" &&
        grep -q -F "$work/login/libclopos_auth.so" "$work/login.log" && grep -q LD_LIBRARY_PATH "$work/login.log"
}

says_that_the_file_is_wrong() {
    echo "not a library" >"$work/login/libclopos_auth.so"
    ! dotnet "$work/login/Login.dll" >"$work/login.log" 2>&1 && cat "$work/login.log" &&
        grep -q -F "$work/login/libclopos_auth.so (it is there, but" "$work/login.log"
}

# Libraries of other versions: 1.0, and 2.0, whose functions may differ.
says_that_the_version_is_wrong() {
    local version number
    for version in "1.0.0 0x010000" "2.0.0 0x020000"; do
        number=${version#* } version=${version% *}
        printf '%s\n' "const char *clopos_auth_version(void) { return \"$version\"; }" \
            "unsigned clopos_auth_version_number(void) { return $number; }" >"$work/other.c" &&
            cc -shared -fPIC -o "$work/login/libclopos_auth.so" "$work/other.c" &&
            ! dotnet "$work/login/Login.dll" >"$work/login.log" 2>&1 && cat "$work/login.log" &&
            grep -q -F "native library clopos_auth is $version; this needs 1.1.0 or a newer 1.x" "$work/login.log" || return
    done
}

copies_the_native_library() {
    dotnet build -c Release -o "$work/login-native" "$copy/examples/dotnet/Login" &&
        cmp "$target/release/libclopos_auth.so" "$work/login-native/libclopos_auth.so" &&
        dotnet "$work/login-native/Login.dll" >"$work/login.log" && grep -q '^token: ' "$work/login.log"
}

check "the example builds without the native library" \
    dotnet build -c Release -o "$work/login" "$copy/examples/dotnet/Login"
check "without the native library the message says where it looked" says_where_it_looked
check "with a file that is no library the message says so" says_that_the_file_is_wrong
if need cc gcc libc6-dev; then
    check "with a library of another version the message says which one it needs" says_that_the_version_is_wrong
else
    skipped ".NET: a library of another version: a C compiler is missing"
fi
check "the package contains its native libraries and licences" packs_native_libraries
built start_sandbox
check "a project reference copies the native library" copies_the_native_library
built dotnet build -c Release -o "$work/hosting" "$copy/tests/wrappers/hosting"
tool_tests ".NET in ASP.NET" dotnet "$work/hosting/Hosting.dll"
