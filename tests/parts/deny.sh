#!/usr/bin/env bash
# licences, banned and duplicate crates, and where every crate comes from, with cargo-deny
# run: all
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"
# shellcheck source=tests/platforms/target.sh
. tests/platforms/target.sh

# deny CONFIGURATION CHECK...: for the crates that are linked into the library, on any platform that it is built for, or
# run while it is built.
excluded=(--exclude clopos-sandbox)
deny() {
    { cat "$1" && printf '[graph]\ntargets = [\n' && printf '"%s",\n' "${TARGETS[@]}" && echo ']'; } >"$work/graph.toml" &&
        cargo deny --locked --config "$work/graph.toml" --exclude-dev "${excluded[@]}" check "${@:2}"
}

# It is a program of its own, which ships with the archives.
with_the_sandbox() {
    local excluded=()
    "$@"
}

# fails_on_ring EDIT CHECK: with EDIT in the configuration, the check fails and names ring.
fails_on_ring() {
    sed "$1" tests/deny.toml >"$work/deny.toml" && ! cmp tests/deny.toml "$work/deny.toml" &&
        ! deny "$work/deny.toml" "$2" >"$work/denied" 2>&1 && grep -F 'ring' "$work/denied"
}

need_cargo_deny || skip_all "cargo-deny is missing"
check "every licence is one of those allowed" deny tests/deny.toml licenses
check "every licence of the sandbox, too" with_the_sandbox deny tests/deny.toml licenses
check "no crate is duplicate or banned" deny tests/deny.toml bans
check "every crate comes from crates.io, also those of the tests" \
    cargo deny --locked --config tests/deny.toml check sources
check "a licence that is not allowed is refused" fails_on_ring '/"ISC"/d' licenses
check "a banned crate is refused" fails_on_ring 's/"tokio"/"ring"/' bans
check "another source is refused" fails_on_ring '/^unknown-registry/a allow-registry = []' sources
