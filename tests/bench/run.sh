#!/bin/sh
# The benchmarks, against a sandbox on this machine. Builds what it needs.
#   tests/bench/run.sh [ROUNDS]
set -eu
cd "$(dirname "$0")/../.."
cargo build --quiet --release --lib
cargo build --quiet --release -p clopos-sandbox
target=${CARGO_TARGET_DIR:-target}
work=$(mktemp -d)
trap 'kill "$sandbox" 2>/dev/null || true; rm -rf "$work"' EXIT INT TERM
: >"$work/out"
"$target/release/clopos-sandbox" --listen 127.0.0.1:0 --ca-file "$work/ca.pem" \
    >"$work/out" 2>/dev/null &
sandbox=$!
tries=0
until url=$(sed -n 's/^listening on //p' "$work/out") && [ -n "$url" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { echo "the sandbox did not start" >&2; exit 1; }
    sleep 0.1
done
ln -s "$(realpath "$target")/release/libclopos_auth.so" "$work/libclopos_auth.so.1"
cc -std=c99 -O2 -Wall -Wextra -Wpedantic -Werror -Iinclude tests/bench/cached_token.c \
    -o "$work/cached_token" "$work/libclopos_auth.so.1" -lpthread -Wl,-rpath,"$work"
"$work/cached_token" "$url" "$work/ca.pem" "${1:-9}"
