#!/usr/bin/env bash
# All benchmarks in one run, with nginx on the loopback as the service. Builds and, as root on Debian, installs what it
# needs. Prints the tables and which goals are met, and writes the figures and the plots.
#
#     tests/bench/run.sh             everything, to target/bench/results.json
#     tests/bench/run.sh --quick     few rounds: to check that it works, not for figures
#     tests/bench/run.sh --counts    only instructions, system calls, allocations and sizes, which are reproducible
#     tests/bench/run.sh --write     everything, and into README.md and the plots in this folder
#     tests/bench/run.sh --out FILE  to FILE

# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"
set -e

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/bench"
target=$(cd "$target" && pwd)
bin=$target/bench/bin out=$target/bench/results.json
options=() counts=
while [ $# != 0 ]; do
    case $1 in
    --quick | --write) options+=("$1") ;;
    --counts) counts=1 options+=("$1") ;;
    --out) shift && out=$1 ;;
    *) sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
    esac
    shift
done

case " ${options[*]} " in
*--quick*--write* | *--write*--quick*)
    echo "a README is not written from few rounds" >&2 && exit 2 ;;
esac

need_rust
need python3 python3
need openssl openssl
need valgrind valgrind libc6-dbg
need strace strace
need_file /usr/bin/time time
PATH=$PATH:/usr/sbin need nginx nginx-light
need c++ g++
need curl-config libcurl4-openssl-dev
need_file /usr/include/cjson/cJSON.h libcjson-dev
need_file /etc/ssl/certs/ca-certificates.crt ca-certificates

build_library
cargo build --quiet --release --locked --manifest-path tests/bench/rustls/Cargo.toml \
    --target-dir "$target/bench/rustls"
mkdir -p "$bin"
cp -f "$target/release/libclopos_auth.so" "$bin/libclopos_auth.so.1"
cp -f "$target/bench/rustls/release/bare-rustls" "$bin/rustls"

# compile NAME OPTION...
compile() {
    cc -std=c99 -O2 -Wall -Wextra -Wpedantic -Werror -Iinclude "tests/bench/$1.c" -o "$bin/$1" \
        "${@:2}" -lpthread
}
for program in library growth cached_token; do
    compile "$program" "$bin/libclopos_auth.so.1" -Wl,-rpath,"$bin"
done
compile libcurl -lcurl -lcjson
c++ -std=c++17 -O2 -Wall -Wextra -Wpedantic -Werror -Iinclude tests/bench/cached_token.cpp \
    -o "$bin/cached_cpp" "$bin/libclopos_auth.so.1" -Wl,-rpath,"$bin" -lpthread

cached=(--cached "C=$bin/cached_token" --cached "C++=$bin/cached_cpp")

# Go is compared with golang.org/x/oauth2, which Debian installs for a GOPATH.
build_go() {
    local path=$target/bench/gopath
    need_file /usr/share/gocode/src/golang.org/x/oauth2 golang-golang-x-oauth2-dev || return
    rm -rf "$path"
    mkdir -p "$path/src/cached"
    cp -R examples/go "$path/src/cloposauth"
    cp tests/bench/go/main.go "$path/src/cached"
    (cd "$path/src/cached" && GO111MODULE=off GOFLAGS='' GOPATH=$path:/usr/share/gocode \
        CGO_CFLAGS=-I$root/include CGO_LDFLAGS="-L$bin -Wl,-rpath,$bin" \
        go build -o "$bin/cached_go" .)
}

# In a copy, because MSBuild writes to the folders of the sources.
build_dotnet() {
    local copy=$target/bench/dotnet
    rm -rf "$copy"
    mkdir -p "$copy/src/examples" "$copy/src/tests/bench"
    cp -R examples/dotnet "$copy/src/examples/"
    cp -R tests/bench/dotnet "$copy/src/tests/bench/"
    dotnet build -c Release -o "$copy/bin" "$copy/src/tests/bench/dotnet/Cached.csproj" >"$copy/log" ||
        { cat "$copy/log" >&2; return 1; }
    cat >"$copy/bin/runtime.json" <<'JSON'
{"runtimeOptions": {"framework": {"name": "Microsoft.NETCore.App", "version": "3.1.0"},
                    "rollForward": "LatestMajor"}}
JSON
    cat >"$bin/cached_dotnet" <<JSON
#!/bin/sh
LD_LIBRARY_PATH=$bin exec dotnet exec --runtimeconfig "$copy/bin/runtime.json" "$copy/bin/Cached.dll" "\$@"
JSON
    chmod +x "$bin/cached_dotnet"
}

if [ -z "$counts" ]; then
    ln -sf libclopos_auth.so.1 "$bin/libclopos_auth.so"
    if need_go && build_go; then
        cached+=(--cached "Go=$bin/cached_go")
    else
        echo "skipped: a cached token from Go" >&2
    fi
    if need_dotnet && build_dotnet; then
        cached+=(--cached ".NET=$bin/cached_dotnet")
    else
        echo "skipped: a cached token from .NET" >&2
    fi
fi

python3 tests/bench/measure.py --bin "$bin" --out "$out" "${options[@]}" "${cached[@]}"
