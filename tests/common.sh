# shellcheck shell=bash
# Sourced by the scripts in tests/ that count tests. The caller sets $work, a folder of its own.

# one_test NAME COMMAND...: a test is a command that succeeds. Shows what it says only if it fails.
one_test() {
    if "${@:2}" >"${work:?}/check.log" 2>&1; then
        echo "ok - $1"
    else
        echo "not ok - $1"
        sed 's/^/    /' "$work/check.log"
        return 1
    fi
}

# The one place where the version is written.
crate_version() {
    sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1
}

# Whether the caller's $target is one of Windows.
is_windows() {
    [[ ${target:?} = *-windows-* ]]
}
