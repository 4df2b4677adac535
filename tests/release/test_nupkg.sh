#!/usr/bin/env bash
# Tests the .NET package that tests/release/nupkg.sh makes of the archives in target/archives: that it can be made again,
# and that projects outside of this tree, which know nothing but the package, build, publish and sign in.

# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"
# shellcheck source=tests/release/sandbox.sh
. tests/release/sandbox.sh

# The targets with an archive.
targets() {
    local file
    for file in target/archives/libclopos_auth-"$version"-*.{tar.xz,zip}; do
        [ ! -e "$file" ] || basename "$file" | sed "s/^libclopos_auth-$version-//; s/\.tar\.xz$//; s/\.zip$//"
    done
}

# In another folder, by somebody with other habits.
makes_the_same_again() {
    local other=$work/another/folder
    mkdir -p "$other/target" "$work/tmp" && tar --exclude=./target --exclude=./.git -cf - . | tar -xf - -C "$other" &&
        ln -s "$toolchains" "$other/target/toolchains" && mkdir "$other/target/archives" &&
        cp target/archives/libclopos_auth-* "$other/target/archives/" || return
    # shellcheck disable=SC2046 # words are wanted
    (umask 077 && TMPDIR=$work/tmp TZ=Asia/Baku "$other/tests/release/nupkg.sh" $(targets)) &&
        cmp "$package" "$other/$package" && rm -rf "$other"
}

# project FOLDER SDK_PROPERTIES ITEMS: a project that knows no other source of packages than the folder $work/source.
project() {
    mkdir -p "$1" && cat >"$1/$(basename "$1").csproj" <<END
<Project Sdk="Microsoft.NET.Sdk">
  <PropertyGroup><LangVersion>8.0</LangVersion><Nullable>enable</Nullable>$2</PropertyGroup>
  <ItemGroup>$3</ItemGroup>
</Project>
END
}

makes_projects() {
    local reference="<PackageReference Include=\"Clopos.Auth\" Version=\"$version\" />"
    local app="<OutputType>Exe</OutputType><TargetFramework>netcoreapp3.1</TargetFramework><RollForward>LatestMajor</RollForward>"
    mkdir -p "$user" "$work/source" && cp "$package" "$work/source/" && cat >"$user/nuget.config" <<END || return
<configuration><packageSources><clear /><add key="release" value="$work/source" /></packageSources></configuration>
END
    project "$user/App" "$app" "$reference" && cp examples/dotnet/Login/Program.cs "$user/App/" &&
        # As .NET Framework has it: a program that has the package by way of a library.
        project "$user/Library" "<TargetFramework>netstandard2.0</TargetFramework>" "$reference" &&
        echo "public static class Library { public static string Version => Clopos.Auth.CloposAuthClient.NativeVersion; }" \
            >"$user/Library/Library.cs" &&
        project "$user/Framework" "<OutputType>Exe</OutputType><TargetFramework>netstandard2.0</TargetFramework>
            <CopyLocalLockFileAssemblies>true</CopyLocalLockFileAssemblies>
            <CloposAuthCopyNative>true</CloposAuthCopyNative>" '<ProjectReference Include="../Library/Library.csproj" />' &&
        cp tests/wrappers/dotnet/Behaviours.cs "$user/Framework/"
}

builds_and_signs_in() {
    dotnet build -c Release -o "$work/built" "$user/App" && signs_in dotnet "$work/built/App.dll"
}

publishes_and_signs_in() {
    dotnet publish -c Release -o "$work/published" "$user/App" && signs_in dotnet "$work/published/App.dll"
}

publishes_a_single_file() {
    dotnet publish -c Release -r linux-x64 --self-contained false -p:PublishSingleFile=true -p:DebugType=none \
        -o "$work/single" "$user/App" && ls "$work/single" && [ "$(find "$work/single" -type f | wc -l)" = 1 ] &&
        DOTNET_ROOT=$(dirname "$(readlink -f "$(type -P dotnet)")") signs_in "$work/single/App"
}

signs_in() {
    "$@" >"$work/signed_in" && grep -q '^token: ' "$work/signed_in"
}

copies_for_framework() {
    dotnet build -c Release -o "$work/framework" "$user/Framework" && find "$work/framework" -name '*clopos_auth*' &&
        [ -s "$work/framework/libclopos_auth.so" ] || return
    local rid
    for rid in x64 x86; do
        python3 -m zipfile -e "$package" "$work/unpacked" &&
            cmp "$work/unpacked/runtimes/win-$rid/native/clopos_auth.dll" "$work/framework/$rid/clopos_auth.dll" || return
    done
}

signs_in_under_mono() {
    local sdk
    sdk=$(dotnet --list-sdks | sed -n '$s/^\([^ ]*\) \[\(.*\)\]$/\2\/\1/p')
    cp "$sdk/Microsoft/Microsoft.NET.Build.Extensions/net461/lib/netstandard.dll" "$work/framework" &&
        mono "$work/framework/Framework.dll" signs_in
}

says_where_it_looked_under_mono() {
    rm "$work/framework/libclopos_auth.so"
    ! mono "$work/framework/Framework.dll" signs_in >"$work/missing.log" 2>&1 && cat "$work/missing.log" &&
        grep -q "DllNotFoundException: .* Looked for: .*$work/framework/libclopos_auth.so" "$work/missing.log"
}

# The .NET for Windows that is on PyPI, under Wine. There is no .NET Framework here, but this loads the library in the same way.
signs_in_on_windows() {
    local -x WINEPREFIX=$work/wine WINEDEBUG=-all WINEDLLOVERRIDES='mscoree,mshtml=' CLOPOS_CA_FILE=Z:${CLOPOS_CA_FILE//\//\\}
    cat >"$work/framework/runtime.json" <<END
{"runtimeOptions": {"framework": {"name": "Microsoft.NETCore.App", "version": "3.1.0"},
                    "configProperties": {"System.Globalization.Invariant": true}}}
END
    (cd "$work/framework" && /usr/lib/wine/wine64 "$toolchains/dotnet-windows/dotnetcore2/bin/dotnet.exe" exec \
        --runtimeconfig runtime.json Framework.dll signs_in) >"$work/windows.log" 2>&1
    cat "$work/windows.log"
    tail -n 1 "$work/windows.log" | grep -q '^ok'
}

need_dotnet_for_windows() {
    need_file /usr/lib/wine/wine64 wine64 &&
        fetch dotnet-windows from_pypi --platform win_amd64 dotnetcore2==3.1.23
}

clean_up() {
    stop_sandbox
    [ ! -e "$work/wine" ] || WINEPREFIX=$work/wine /usr/lib/wine/wineserver64 -k
}

version=$(crate_version)
package=target/archives/Clopos.Auth.$version.nupkg
user=$work/user
if ! need_dotnet || ! need_source_date || ! need python3 python3 || ! need cmp diffutils; then
    skip_all "the .NET package: a tool is missing"
fi
[ -n "$(targets)" ] || skip_all "the .NET package: there is no archive to make it of"
export NUGET_PACKAGES=$work/packages
start_packaged_sandbox || exit 1
# shellcheck disable=SC2046 # words are wanted
check "the .NET package is made" tests/release/nupkg.sh $(targets)
check "everything is in it" tests/wrappers/check_package.py "$package" linux-x64
check "the same bytes are made in another folder" makes_the_same_again
check "projects outside of this tree are made" makes_projects
unset LD_LIBRARY_PATH
check "a program with a package reference signs in" builds_and_signs_in
check "it does when it is published" publishes_and_signs_in
check "it does as a single file" publishes_a_single_file
if [ -e "target/archives/libclopos_auth-$version-i686-win7-windows-gnu.zip" ]; then
    check "a program for .NET Framework gets x86 and x64" copies_for_framework
    if need_dotnet_for_windows; then
        check "and signs in on Windows, where the process takes x64" signs_in_on_windows
    else
        skipped "the package on Windows"
    fi
    if need_mono; then
        check "and signs in under Mono" signs_in_under_mono
        check "without the native library it says where it looked, under Mono" says_where_it_looked_under_mono
    else
        skipped "the package under Mono"
    fi
else
    skipped "the .NET package for .NET Framework: there is no archive for Windows"
fi
