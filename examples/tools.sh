# shellcheck shell=bash
# Sourced by examples/run.sh and tests/run.sh: finds the tools that a command needs and, as root on
# Debian, installs those that are missing. Everywhere else it names them.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# A toolchain that is not there is installed by Debian's packages or by the user, never by rustup.
export RUSTUP_AUTO_INSTALL=0

can_install() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null
}

# apt_get COMMAND...: says nothing unless it fails.
apt_get() {
    local log status=0
    log=$(mktemp) || return
    # Somebody else may be installing something: another of these scripts, or apt itself.
    DEBIAN_FRONTEND=noninteractive flock /var/lib/apt/lists apt-get -o DPkg::Lock::Timeout=600 "$@" >"$log" 2>&1 ||
        { status=1 && cat "$log" >&2; }
    rm -f "$log"
    return "$status"
}

# Once is enough for a whole run of the tests. A source that cannot be reached may be one that is not needed.
apt_update() {
    can_install || return
    [ -n "${apt_is_up_to_date:-}" ] || apt_get update || true
    export apt_is_up_to_date=1
}

# apt_install PACKAGE...
apt_install() {
    apt_update || return
    echo "installing $*" >&2
    apt_get install -y --no-install-recommends "$@"
}

# need_each COMMAND...: runs them all, so that all that is missing is named at once. A COMMAND is split into words.
need_each() {
    local command status=0
    for command in "$@"; do
        # shellcheck disable=SC2086 # words are wanted
        $command || status=1
    done
    return "$status"
}

# need PROGRAM PACKAGE [COMPANION...]: PROGRAM is there, or comes with Debian's PACKAGE; so do the packages that it does
# not work without. On other systems only PROGRAM can be looked for.
need() {
    local package missing=()
    type -P "$1" >/dev/null || missing=("$2")
    if type -P dpkg-query >/dev/null; then
        for package in "${@:3}"; do is_installed "$package" || missing+=("$package"); done
    fi
    [ ${#missing[@]} != 0 ] || return 0
    apt_install "${missing[@]}" && type -P "$1" >/dev/null && return
    echo "missing: $1 (on Debian: apt-get install ${missing[*]})" >&2
    return 1
}

is_installed() {
    [[ $(dpkg-query --show --showformat '${db:Status-Status}' "$1" 2>/dev/null) = installed ]]
}

# need_file FILE PACKAGE: FILE is there, or comes with Debian's PACKAGE.
need_file() {
    [ -e "$1" ] || apt_install "$2" && [ -e "$1" ] && return
    echo "missing: $1 (on Debian: apt-get install $2)" >&2
    return 1
}

# What Cargo.toml asks for.
wanted_rust() {
    sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml"
}

# is_new_enough VERSION, for Cargo.toml. None is not.
is_new_enough() {
    [ -n "$1" ] && [ "$(printf '%s\n' "$(wanted_rust)" "$1" | sort -V | head -n 1)" = "$(wanted_rust)" ]
}

# rust_version CARGO: its version, or nothing where there is none or it does not work.
rust_version() {
    "$1" --version 2>/dev/null | cut -d' ' -f2
}

# debian_rust PACKAGE...: the names that Debian has for these packages of a Rust that is new enough: these, or, in stable
# releases, those of the newer one that its browsers are built with: rustc-web, rust-web-src.
debian_rust() {
    local candidate
    candidate=$(LC_ALL=C apt-cache policy rustc 2>/dev/null | sed -n 's/^ *Candidate: \([0-9.]*\).*/\1/p')
    if is_new_enough "$candidate"; then
        printf '%s\n' "$@"
    else
        printf '%s\n' "$@" | sed 's/^rust-/rust-web-/; t; s/$/-web/'
    fi | xargs
}

# missing_rust CARGO PACKAGE...
missing_rust() {
    local found
    found=$(rust_version "$1")
    echo "missing: Rust $(wanted_rust) or newer, $1 is ${found:-not there} (on Debian: apt-get install ${*:2})" >&2
    return 1
}

# Rust, and the C compiler that it links with.
need_rust() {
    need_each "need cc gcc libc6-dev" need_cargo
}

need_cargo() {
    local packages
    is_new_enough "$(rust_version cargo)" && return
    apt_update
    packages=$(debian_rust rustc cargo)
    # shellcheck disable=SC2086 # words are wanted
    if apt_install $packages ca-certificates; then
        hash -r
        # A rustup without a toolchain may stand before Debian's in PATH.
        is_new_enough "$(rust_version cargo)" || PATH=/usr/bin:$PATH
        is_new_enough "$(rust_version cargo)" && echo "found Rust $(rust_version cargo)" >&2 && return
    fi
    missing_rust cargo "$packages"
}

# The crates that are to be built: so that a build that fails has another cause.
fetch_crates() {
    cargo fetch --quiet --locked && return
    echo "missing: the crates of Cargo.lock; is there a network?" >&2
    return 1
}

# The options by which cargo builds what ships: both libraries, optimised as a whole. With the rlib, which Cargo.toml
# lists too, cargo would not do that. This is the one place that says so.
# shellcheck disable=SC2054 # the comma belongs to the option
SHIPPED=(--release --lib --crate-type cdylib,staticlib)

# Builds what ships, for this machine, into the folder release of the target directory. The same shared library with its
# names, which valgrind needs, is in the folder unstripped beside it.
build_library() (
    folder=${CARGO_TARGET_DIR:-target}/release
    lock "$folder/lock" && run cargo rustc "${SHIPPED[@]}" -- -C strip=none 9>&- || exit
    # Programs look for the library by its SONAME.
    ln -sf libclopos_auth.so "$folder/libclopos_auth.so.1"
    [ "$(uname -s)" = Linux ] || exit 0
    rename_rust_names "$folder/libclopos_auth.a" && mkdir -p "$folder/unstripped" &&
        ln -f "$folder/libclopos_auth.so" "$folder/libclopos_auth.a" "$folder/unstripped" && ln -sf libclopos_auth.so "$folder/unstripped/libclopos_auth.so.1" &&
        strip -o "$folder/stripped.so" "$folder/libclopos_auth.so" && mv "$folder/stripped.so" "$folder/libclopos_auth.so"
)

# rename_rust_names LIBRARY [PREFIX]: puts clopos_auth_private_ before Rust's own names in a static library. Otherwise it
# could not be linked beside another one that is written in Rust: both would define the same names. PREFIX stands before
# the names of binutils' programs.
rename_rust_names() {
    local folder
    folder=$(mktemp -d) || return
    # LLVM's bitcode goes first: binutils would hand it to a plugin, which may know another version of it and abort.
    # Then the file moves: cargo has another link to the old one.
    "${2:-}objcopy" --remove-section='.llvm*' "$1" "$folder/plain.a" &&
        "${2:-}nm" --extern-only --defined-only "$folder/plain.a" 2>/dev/null >"$folder/all"
    awk 'NF == 3 && $3 ~ /^_?(_ZN|_R|_*rust_|ring_core_|DW\.ref\.rust_)/ { print $3, "clopos_auth_private_" $3 }' \
        "$folder/all" | sort -u >"$folder/names"
    if ! [ -s "$folder/names" ] ||
        ! "${2:-}objcopy" --redefine-syms="$folder/names" "$folder/plain.a" "$1.new" || ! mv "$1.new" "$1"; then
        rm -rf "$folder"
        return 1
    fi
    rm -rf "$folder"
}

# The functions that the header in the folder $1 declares.
declared_functions() {
    grep -o 'clopos_auth_[a-z_]*(' "$1/clopos_auth.h" | tr -d '(' | sort -u
}

# Free disk space of this folder.
free_mb() { df -Pm . | awk 'NR == 2 { print $4 }'; }

# lock FILE: takes the lock of this name, or waits for it. The calling process or subshell holds it until it ends.
lock() {
    mkdir -p "${1%/*}" && exec 9>"$1" && { ! type -P flock >/dev/null || flock 9; }
}

# Shows a command that a reader may want to take along, and runs it.
run() {
    echo "+ $*" >&2
    "$@"
}

# Unoptimised: it builds in a quarter of the time, and is fast enough. "--examples" (there are none) makes cargo take the
# dependencies with the features that the tests need, too: otherwise half of them are built twice.
build_sandbox() {
    run cargo build --workspace --bin clopos-sandbox --examples
}

# Builds and starts a sandbox with TLS and these options, and sets the variables that the examples read. Its files are in
# the caller's directory $work; the caller calls stop_sandbox at its end. A caller that has a sandbox names its command.
sandbox=
sandbox_command=()
sandbox_options=()
start_sandbox() {
    local deadline command=("${sandbox_command[@]}")
    if [ ${#command[@]} = 0 ]; then
        build_sandbox && command=("$(cd "${CARGO_TARGET_DIR:-target}" && pwd)/debug/clopos-sandbox") || return
    fi
    "${command[@]}" --listen 127.0.0.1:0 --ca-file "$work/ca.pem" "${sandbox_options[@]}" \
        >"${work:?}/sandbox.out" 2>"$work/sandbox.log" &
    sandbox=$!
    deadline=$((SECONDS + 30))
    until CLOPOS_BASE_URL=$(sed -n 's/^listening on //p' "$work/sandbox.out" 2>/dev/null) &&
        [ -n "$CLOPOS_BASE_URL" ]; do
        if ! kill -0 "$sandbox" 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
            echo "the sandbox did not start:" >&2
            cat "$work/sandbox.log" >&2
            return 1
        fi
        sleep 0.1
    done
    export CLOPOS_BASE_URL CLOPOS_CA_FILE=$work/ca.pem
    export CLOPOS_CLIENT_ID=sandbox_client CLOPOS_CLIENT_SECRET=sandbox_secret
    export CLOPOS_BRAND=sandbox CLOPOS_INTEGRATOR_ID=test_sandbox
    # A proxy of this machine does not lead to the sandbox.
    export NO_PROXY="localhost,${NO_PROXY:-}" no_proxy="localhost,${no_proxy:-}"
    echo "the sandbox is at $CLOPOS_BASE_URL" >&2
}

stop_sandbox() {
    if [ -n "$sandbox" ]; then
        kill "$sandbox" 2>/dev/null || true
        wait "$sandbox" 2>/dev/null || true
    fi
}
