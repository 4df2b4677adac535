#!/usr/bin/env bash
# Signs in with the examples of a language: builds the library, starts the sandbox, compiles the examples and runs
# them.
#
#     examples/run.sh c|cpp|go|dotnet|python
#
# If CLOPOS_CLIENT_ID, CLOPOS_CLIENT_SECRET, CLOPOS_BRAND and CLOPOS_INTEGRATOR_ID are set, the examples sign in
# to the real service (or to the one at CLOPOS_BASE_URL), and no sandbox is started.

set -eu
# shellcheck source=examples/tools.sh
. "$(dirname "$0")/tools.sh"
cd "$root"
# shellcheck source=tests/toolchains.sh
. tests/toolchains.sh

LANGUAGES=(c cpp go dotnet python)
CREDENTIALS=(CLOPOS_CLIENT_ID CLOPOS_CLIENT_SECRET CLOPOS_BRAND CLOPOS_INTEGRATOR_ID)

# The libraries that a program with the static library also links: those that
# `cargo rustc --release --lib -- --print native-static-libs` lists, without those that cc always links.
STATIC_LIBRARIES=(-lpthread -lm -ldl)

usage() {
    echo "usage: examples/run.sh LANGUAGE, one of: ${LANGUAGES[*]}" >&2
    exit 2
}

# Builds the library. Programs find it in LD_LIBRARY_PATH.
build() {
    build_library
    libraries=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)/release
    export LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
}

# The service that the examples use: the real one if there are credentials, otherwise the sandbox.
choose_service() {
    local name missing=()
    for name in "${CREDENTIALS[@]}"; do
        [ -n "${!name:-}" ] || missing+=("$name")
    done
    if [ ${#missing[@]} = 0 ]; then
        return
    elif [ ${#missing[@]} != ${#CREDENTIALS[@]} ]; then
        echo "for the real service, set ${missing[*]} too; for the sandbox, set none of them" >&2
        exit 2
    fi
    start_sandbox
}

cleanup() {
    stop_sandbox
    rm -rf "$work"
}

run_c() {
    local warnings=(-std=c99 -Wall -Wextra -Wpedantic -Werror)
    need curl-config libcurl4-openssl-dev
    build
    choose_service
    run cc "${warnings[@]}" -O2 -Iinclude examples/c/login.c -L"$libraries" -lclopos_auth -lcurl \
        -o "$work/login"
    run cc "${warnings[@]}" -O2 -Iinclude examples/c/event_loop.c -L"$libraries" -lclopos_auth \
        -o "$work/event_loop"
    run cc "${warnings[@]}" -O2 -Iinclude examples/c/firmware.c "$libraries/libclopos_auth.a" \
        "${STATIC_LIBRARIES[@]}" -o "$work/firmware"
    echo "--- login.c: the shared library"
    "$work/login"
    echo "--- firmware.c: the static library, no heap of its own"
    "$work/firmware"
    echo "--- event_loop.c: never waits, until its input ends after 2 s"
    sleep 2 | "$work/event_loop"
}

run_cpp() {
    need g++ g++
    need cmake cmake make
    need curl-config libcurl4-openssl-dev
    build
    choose_service
    run cmake -S examples/cpp -B "$work/cpp" -DCMAKE_BUILD_TYPE=Release \
        -DCLOPOS_AUTH_LIBRARY="$libraries/libclopos_auth.so" >&2
    run cmake --build "$work/cpp" >&2
    "$work/cpp/login"
    echo "--- event_loop.cpp: never waits, until its input ends after 2 s"
    sleep 2 | "$work/cpp/event_loop"
}

run_go() {
    need_go
    build
    choose_service
    local directories=(env CGO_CFLAGS="-I$root/include" CGO_LDFLAGS="-L$libraries")
    run "${directories[@]}" go build -C examples/go -o "$work/login" ./login
    run "${directories[@]}" go build -C examples/go -tags clopos_auth_static -o "$work/login-static" \
        ./login
    echo "--- login: the shared library"
    "$work/login"
    echo "--- login: the static library"
    "$work/login-static"
}

run_dotnet() {
    need_dotnet
    build
    choose_service
    # A copy, because MSBuild writes to the folders of the sources.
    cp -R examples/dotnet "$work/"
    run dotnet build --nologo -v quiet -c Release -o "$work/login" "$work/dotnet/Login" >&2
    dotnet "$work/login/Login.dll"
}

run_python() {
    need python3 python3
    build
    choose_service
    PYTHONPATH=examples/python CLOPOS_AUTH_LIBRARY=$libraries/libclopos_auth.so run python3 -m clopos_auth
}

language=${1:-}
case " ${LANGUAGES[*]} " in
*" $language "*) [ $# = 1 ] || usage ;;
*) usage ;;
esac

work=$(mktemp -d)
trap cleanup EXIT
trap 'exit 1' INT TERM

need_rust
"run_$language"
