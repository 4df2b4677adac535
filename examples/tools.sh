# shellcheck shell=bash
# Sourced by examples/run.sh and tests/run.sh: finds the tools that a command needs and, as root on
# Debian, installs those that are missing. Everywhere else it names them.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# A toolchain that is not there is installed by Debian's packages or by the user, never by rustup.
export RUSTUP_AUTO_INSTALL=0

# apt_install PACKAGE...
apt_install() {
    local log
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        return 1
    fi
    echo "installing $*" >&2
    log=$(mktemp)
    export DEBIAN_FRONTEND=noninteractive
    # Somebody else may be installing something.
    local patient=(-o DPkg::Lock::Timeout=600)
    if [ -z "${apt_is_up_to_date:-}" ]; then
        # A source that cannot be reached may be one that is not needed.
        apt-get "${patient[@]}" update >"$log" 2>&1 || cat "$log" >&2
        apt_is_up_to_date=1
    fi
    if ! apt-get "${patient[@]}" install -y --no-install-recommends "$@" >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        return 1
    fi
    rm -f "$log"
}

# need PROGRAM PACKAGE...: PROGRAM is there, or comes with Debian's PACKAGEs.
need() {
    type -P "$1" >/dev/null && return
    apt_install "${@:2}" && type -P "$1" >/dev/null && return
    echo "missing: $1 (on Debian: apt-get install ${*:2})" >&2
    return 1
}

# Whether cargo is there, works, and is new enough for Cargo.toml's rust-version.
has_rust() {
    local wanted have
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    have=$(cargo --version 2>/dev/null | cut -d' ' -f2) && [ -n "$have" ] || return 1
    [ "$(printf '%s\n' "$wanted" "$have" | sort -V | head -n 1)" = "$wanted" ]
}

# Rust, and the C compiler that it links with.
need_rust() {
    need cc gcc libc6-dev || return
    has_rust && return
    if apt_install rustc-web cargo-web ca-certificates; then
        hash -r
        # A rustup without a toolchain may stand before Debian's in PATH.
        has_rust || PATH=/usr/bin:$PATH
        has_rust && return
    fi
    echo "missing: Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml") or newer" \
        "(on Debian: apt-get install rustc-web cargo-web)" >&2
    return 1
}
