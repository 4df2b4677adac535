#!/usr/bin/env bash
# Makes the .NET package from the archives in target/archives.
#
#     tests/release/nupkg.sh TARGET...
#
# target/archives/Clopos.Auth.VERSION.nupkg has the native library of each of these that .NET runs on, with the licences
# and the SBOM of its archive. The same archives make the same bytes.

# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

# What NuGet calls the platforms. The library for Windows 7 runs on all that came later. Left out: i686-unknown-linux-gnu,
# for which Microsoft has no .NET; aarch64-linux-android and armv7-linux-androideabi, which have no shared library.
declare -A RIDS=(
    [x86_64-win7-windows-gnu]=win-x64
    [i686-win7-windows-gnu]=win-x86
    [x86_64-unknown-linux-gnu]=linux-x64
    [aarch64-unknown-linux-gnu]=linux-arm64
    [armv7-unknown-linux-gnueabihf]=linux-arm
    [x86_64-unknown-linux-musl]=linux-musl-x64
)

# take TARGET FOLDER: its archive's library, licences and SBOM.
take() {
    local name=libclopos_auth-$version-$1 rid=${RIDS[$1]} archives=$root/target/archives
    local native=$2/runtimes/$rid/native
    mkdir -p "$native" "$2/licenses" "$2/sbom" || return
    if [[ $1 = *-windows-* ]]; then
        (cd "$work" && python3 -m zipfile -e "$archives/$name.zip" .) && cp "$work/$name/bin/clopos_auth.dll" "$native/"
    else
        tar -C "$work" -xf "$archives/$name.tar.xz" &&
            cp "$work/$name/lib/libclopos_auth.so.$version" "$native/libclopos_auth.so"
    fi && cp -R "$work/$name/licenses/." "$2/licenses/" && cp "$work/$name/sbom.cdx.json" "$2/sbom/$rid.cdx.json"
}

[ $# != 0 ] || { echo "usage: tests/release/nupkg.sh TARGET..., of: ${!RIDS[*]}" >&2; exit 2; }
umask 022
version=$(crate_version)
need_dotnet && need python3 python3 && need xz xz-utils && need_source_date || exit 1
# In a copy: MSBuild writes beside the sources.
copy=$work/copy project=$work/copy/examples/dotnet/Clopos.Auth
mkdir -p "$copy/examples" && cp -R examples/dotnet "$copy/examples/" && cp LICENSE-* "$copy/" || exit 1
for target in "$@"; do
    [ -z "${RIDS[$target]:-}" ] || take "$target" "$project" || exit 1
done
# The names of the folders that sources are in are in the symbols; the SDK writes one source into the temporary folder.
TMPDIR=$copy dotnet pack --nologo -v quiet -c Release -p:PathMap="$copy=/_" -o "$work/package" "$project" >&2 &&
    tests/release/repack.py "$work/package/Clopos.Auth.$version.nupkg" "target/archives/Clopos.Auth.$version.nupkg" &&
    cd target/archives && sha256sum "Clopos.Auth.$version.nupkg" | tee "Clopos.Auth.$version.nupkg.sha256"
