#!/usr/bin/env bash
# Runs the tests: all of them, or the named parts.
#
#     tests/run.sh            everything
#     tests/run.sh PART...    only these
#     tests/run.sh --list     what there is
#
# Installs the tools that are missing (as root on Debian; elsewhere it names them), says how long each
# part took, and ends with "N passed, N failed", and ", N skipped" where a tool could not be had.
# With CI set, a skip is a failure, too.
#
# A new part is a function part_NAME and an entry in PARTS. It calls `check` for each of its tests, or
# counts by itself with `passed`, `failed` and `skipped`.

set -u
# shellcheck source=examples/tools.sh
. "$(dirname "$0")/../examples/tools.sh"
cd "$root" || exit 1
# shellcheck source=tests/toolchains.sh
. tests/toolchains.sh
# shellcheck source=tests/common.sh
. tests/common.sh

PARTS=(
    scripts    # the shell scripts are clean
    format     # the Rust code is formatted
    clippy     # and has no warnings
    docs       # nor has its documentation
    rust       # the Rust tests
    simulation # the same library over simulated days, optimised
    loom       # every interleaving of three threads around one flight
    header     # the header is C99 and C++11 without a warning
    c          # the C interface, from C and from C++
    memcheck   # the same under valgrind
    helgrind   # its threads under valgrind, too
    cost       # instructions, system calls, allocations and sizes beside the peers
    resources  # out of memory and stack, and no use of a disk
    soak       # two minutes of everything at once: flat, and no token past its end
    asan       # all of it, and the library's own code, with AddressSanitizer and LeakSanitizer
    tsan       # its threads, the library's and Rust's own code, with ThreadSanitizer
    coverage   # which lines they all run, and why they do not run the others
    fuzz       # a minute of each fuzz target
    symbols    # what the libraries export and need
    deny       # which crates, licences and sources the library is made of
    abi        # what programs have compiled in stays
    wrappers   # one list of behaviours, in every language
    gotest     # what Go's package tests by itself
    examples   # the main job, from the outside
    install    # what cargo-c installs, to programs that find it by pkg-config and CMake
    platforms  # the library for every platform, and a program that runs on it
    release    # the archive of a release, made twice, and programs that build against it
    secrets    # nothing that any of these printed or logged holds a secret
)

# shellcheck disable=SC2054 # the comma belongs to the option
VALGRIND=(
    valgrind --quiet --error-exitcode=99 --leak-check=full --num-callers=40
    --show-leak-kinds=definite,indirect --errors-for-leak-kinds=definite,indirect
    --suppressions=tests/c/valgrind.supp
)

HELGRIND=(valgrind --tool=helgrind --quiet --error-exitcode=99 --num-callers=40 --suppressions=tests/c/helgrind.supp)

WARNINGS=(-Wall -Wextra -Wpedantic -Wundef -Werror)

# What the tests must never log or say, and what they did log and say. A test program appends every log
# line and error text to a file of its own in the one, and every secret and token to the other.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
export CLOPOS_TEST_TRANSCRIPT=$work/transcript CLOPOS_TEST_SECRETS=$work/secrets
mkdir "$CLOPOS_TEST_TRANSCRIPT"
# Some tests become nobody on the way.
chmod 711 "$work"
chmod 1777 "$CLOPOS_TEST_TRANSCRIPT"

total_passed=0
total_failed=0
total_skipped=0
passed() { total_passed=$((total_passed + $1)); }
failed() { total_failed=$((total_failed + $1)); }
skipped() {
    total_skipped=$((total_skipped + 1))
    echo "skipped: $*"
}

check() {
    if one_test "$@"; then passed 1; else failed 1; fi
}

# tally LABEL STATUS PASSED FAILED SKIPPED: what a program of many tests came to; its output is in
# $work/tests.log.
tally() {
    local bad=$4
    # Not built, or crashed.
    if [ "$2" != 0 ] && [ "$bad" = 0 ] || [ "$3" = 0 ]; then
        bad=$((bad + 1))
    fi
    if [ "$bad" != 0 ]; then
        cat "$work/tests.log"
    fi
    passed "$3"
    failed "$bad"
    [ "$5" = 0 ] || skipped "$5 tests in $1"
    echo "$1: $3 passed, $bad failed"
}

# cargo_test LABEL ARGUMENT...: counts what `cargo test` says.
cargo_test() {
    rust_tests "$1" cargo test --no-fail-fast "${@:2}"
}

# rust_tests LABEL COMMAND...: the same of whatever runs Rust's test programs.
rust_tests() {
    local status=0 counts
    "${@:2}" >"$work/tests.log" 2>&1 || status=$?
    # A test that finds itself unable to run says so, and why.
    counts=$(awk '/^test result:/ { ok += $4; bad += $6; unable += $8 } /^SKIPPED: / { unable++ }
        END { print ok + 0, bad + 0, unable + 0 }' "$work/tests.log")
    grep '^SKIPPED: ' "$work/tests.log"
    # shellcheck disable=SC2086 # three numbers
    tally "$1" "$status" $counts
}

# c_tests LABEL FILTER...: the same for the tests inside the C programs that tests/c.rs runs, and for
# those of its own tests that run none.
c_tests() {
    local status=0 good bad
    # Two threads at least: with one, cargo's lines and the tests' lines are mixed.
    cargo test --test c -- --nocapture --test-threads 2 --include-ignored "${@:2}" \
        >"$work/tests.log" 2>&1 || status=$?
    good=$(grep -c '^ok - ' "$work/tests.log")
    bad=$(grep -c '^not ok - ' "$work/tests.log")
    tally "$1" "$status" "$good" "$bad" 0
}

# script_tests LABEL COMMAND...: counts the lines "ok - ...", "not ok - ..." and "skipped - ..." of a script.
script_tests() {
    local status=0 good bad why missed=$total_skipped
    "${@:2}" >"$work/tests.log" 2>&1 || status=$?
    good=$(grep -c '^ok - ' "$work/tests.log")
    bad=$(grep -c '^not ok - ' "$work/tests.log")
    while read -r why; do skipped "$why"; done < <(sed -n 's/^skipped - //p' "$work/tests.log")
    [ "$total_skipped" != "$missed" ] && [ $((good + bad)) = 0 ] && return
    tally "$1" "$status" "$good" "$bad" 0
}

# built COMMAND...: what tests need to start; if it fails, that is one failure instead of theirs.
built() {
    "$@" >"$work/tests.log" 2>&1 && return
    tally "build" 1 0 0 0
    return 1
}

has_cargo_tool() {
    cargo "$1" --version >/dev/null 2>&1
}

# need_cargo_tool TOOL PACKAGE WHAT: comes with the toolchain, or with Debian's package for Debian's.
need_cargo_tool() {
    has_cargo_tool "$1" && return
    case $(command -v cargo) in
    /usr/bin/*) apt_install "$2" && has_cargo_tool "$1" && return ;;
    esac
    skipped "$3: this toolchain has no cargo $1"
    return 1
}

part_scripts() {
    need shellcheck shellcheck || { skipped "no shellcheck"; return; }
    check "shellcheck has nothing to say" shellcheck -x examples/*.sh tests/*.sh \
        tests/*/*.sh tests/wrappers/*/build .ci/run
}

part_format() {
    local workspace
    need_cargo_tool fmt rustfmt-web "the format" || return
    for workspace in . tests/bench/rustls tests/fuzz tests/loom; do
        check "cargo fmt changes nothing in $workspace" \
            cargo fmt --all --check --manifest-path "$workspace/Cargo.toml"
    done
}

part_clippy() {
    need_cargo_tool clippy rust-web-clippy "clippy" || return
    check "clippy has nothing to say" cargo clippy --workspace --all-targets -- -D warnings
}

part_docs() {
    RUSTDOCFLAGS="-D warnings" check "the documentation builds without a warning" \
        cargo doc --no-deps --workspace
}

# What tests/network and tests/sandbox drive.
need_network_tools() {
    need ip iproute2 && need nft nftables && need tinyproxy tinyproxy-bin && need squid squid &&
        need openssl openssl
}

part_rust() {
    need_network_tools || skipped "some tests of the network: a tool is missing"
    # The sandbox's tests send signals.
    need kill procps || skipped "the sandbox's tests need kill"
    # Part c counts the tests inside the C programs.
    cargo_test "cargo test" --workspace -- --skip c_interface
    # The fault matrix, for those who read this.
    grep -E '^\| [^|]*( \| [^|]*){7}$' "$work/tests.log"
}

# The tests that run what no other test does; the whole takes twice as long.
run_for_coverage() {
    # Children that become nobody leave what they covered here, too.
    mkdir -p "$CARGO_TARGET_DIR/llvm-cov-target" && chmod 777 "$CARGO_TARGET_DIR/llvm-cov-target" &&
        cargo llvm-cov clean --workspace &&
        cargo llvm-cov --no-report -p clopos_auth --lib --test client --test client_deadlines \
            --test client_fork --test exchange --test faults --test hot_path --test network &&
        cargo llvm-cov --no-report -p clopos_auth --test c -- c99_with_the_shared_library &&
        cargo llvm-cov report --lcov --output-path "$work/lcov"
}

part_coverage() {
    if ! need_network_tools || ! need_c_tools || ! need python3 python3 || ! need_llvm_cov; then
        skipped "the coverage: a tool is missing"
        return
    fi
    local CARGO_TARGET_DIR
    CARGO_TARGET_DIR=$(target_directory)/coverage
    export CARGO_TARGET_DIR
    CARGO_PROFILE_DEV_DEBUG=0 check "the tests pass while they are watched" run_for_coverage
    check "every line is run by a test or explained" tests/coverage.py "$work/lcov" tests/coverage.txt
    grep '^|' "$work/check.log"
    check "a line that nothing runs and nothing explains is noticed" notices_what_is_not_explained
}

notices_what_is_not_explained() {
    sed '/clock.rs/,/^$/d' tests/coverage.txt >"$work/explanations"
    ! tests/coverage.py "$work/lcov" "$work/explanations"
}

part_simulation() {
    # Only this crate: what it stands on is built as in all tests. With debug assertions, it would be a
    # hundredth of the country.
    local crate=profile.dev.package.clopos_auth
    cargo_test "simulation" --config "$crate.opt-level=3" --config "$crate.debug-assertions=false" \
        --test simulation
}

# Each in a process of its own: loom makes its threads' stacks anew all the time, and one process's
# processors would wait for each other's memory maps.
each_model() {
    local program
    cargo test --locked --manifest-path tests/loom/Cargo.toml --target-dir "$(target_directory)/loom" \
        --no-run 2>&1 | tee "$work/loom.log"
    program=$(sed -n 's/^ *Executable .* (\(.*\))$/\1/p' "$work/loom.log") && [ -x "$program" ] || return
    "$program" --list | sed -n 's/: test$//p' | xargs -n 1 -P "$(nproc)" "$program" --exact
}

part_loom() {
    rust_tests "loom" each_model
}

# check_header COMPILER STANDARD OPTION...: the header alone, twice.
check_header() {
    local language=c
    case $2 in c++*) language=c++ ;; esac
    printf '%s\n' '#include <clopos_auth.h>' '#include <clopos_auth.h>' \
        'typedef char status_has_32_bits[sizeof(clopos_auth_status) == 4 ? 1 : -1];' \
        'int main(void) { return CLOPOS_AUTH_OK; }' >"$work/header.$language"
    check "the header is $2 for $1 ${*:3}" \
        "$1" "-std=$2" "${WARNINGS[@]}" "${@:3}" -Iinclude -fsyntax-only "$work/header.$language"
}

check_cpp_header() {
    printf '%s\n' '#include <clopos_auth.hpp>' '#include <clopos_auth.hpp>' >"$work/wrapper.cpp"
    check "the C++ header is $2 for $1" \
        "$1" "-std=$2" "${WARNINGS[@]}" -Iinclude -fsyntax-only "$work/wrapper.cpp"
}

part_header() {
    local compiler standard
    for compiler in gcc clang g++ clang++; do
        if ! need "$compiler" "${compiler/clang++/clang}"; then
            skipped "the header for $compiler"
            continue
        fi
        case $compiler in
        *++) for standard in c++11 c++14 c++17 c++20; do check_header "$compiler" "$standard"; done ;;
        *) for standard in c99 c11 c17; do check_header "$compiler" "$standard"; done ;;
        esac
        case $compiler in
        *++)
            check_header "$compiler" c++11 -fshort-enums
            for standard in c++17 c++20; do check_cpp_header "$compiler" "$standard"; done
            ;;
        *) check_header "$compiler" c99 -fshort-enums ;;
        esac
    done
}

# Both libraries, optimised as a whole: beside an rlib, cargo does without that.
build_what_ships() {
    cargo rustc --release --lib --crate-type cdylib,staticlib
}

need_c_tools() {
    need gcc gcc libc6-dev && need g++ g++ && need curl-config libcurl4-openssl-dev
}

part_c() {
    need_c_tools || { skipped "the C interface: no compiler or no libcurl"; return; }
    c_tests "C interface" --skip memcheck --skip helgrind --skip asan --skip tsan --skip resources --skip soak::
}

part_memcheck() {
    if ! need_c_tools || ! need valgrind valgrind libc6-dbg; then
        skipped "memcheck: no compiler, no libcurl or no valgrind"
        return
    fi
    # The code that ships, with the names that the suppressions go by.
    built cargo build --lib --profile release-symbols || return
    CLOPOS_TEST_LIBRARIES=$(target_directory)/release-symbols CLOPOS_TEST_DEADLINE_S=600 \
        CLOPOS_TEST_UNDER=${VALGRIND[*]} \
        c_tests "memcheck" c99_with_the_shared_library example memcheck
}

# The C tests that run several threads, without those that fork. The library's code is the same for all.
THREADS="together thread cancel_wakes freeing_a_client_waits never_called_after may_free_its_client"

part_helgrind() {
    if ! need_c_tools || ! need valgrind valgrind libc6-dbg; then
        skipped "helgrind: no compiler, no libcurl or no valgrind"
        return
    fi
    built cargo build --lib --profile release-symbols || return
    CLOPOS_TEST_LIBRARIES=$(target_directory)/release-symbols CLOPOS_TEST_DEADLINE_S=600 \
        CLOPOS_TEST_ONLY=$THREADS CLOPOS_TEST_UNDER="${HELGRIND[*]}" \
        c_tests "helgrind" c99_with_the_shared_library helgrind
}

# sanitized NAME OPTION...: the shared library, instrumented; no build script is, since there is a target.
# Optimised a little: without that, the library's own threads have too little stack for ThreadSanitizer.
sanitized() {
    RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=$1" CARGO_PROFILE_DEV_OPT_LEVEL=1 \
        cargo rustc --lib --crate-type cdylib --target "$(host)" \
        --target-dir "$(target_directory)/$1" "${@:2}"
}

host() {
    rustc -vV | sed -n 's/^host: //p'
}

# The runtime is GCC's: the instrumented library takes that of the program which loads it.
part_asan() {
    need_c_tools || { skipped "asan: no compiler or no libcurl"; return; }
    built sanitized address || return
    # One test searches all memory, and there the sanitizer has terabytes.
    CLOPOS_TEST_LIBRARIES=$(target_directory)/address/$(host)/debug CLOPOS_TEST_CFLAGS=-fsanitize=address \
        CLOPOS_TEST_NOT=nothing_of_secret_and_token_is_left \
        ASAN_OPTIONS=detect_stack_use_after_return=1 \
        c_tests "asan" c99_with_the_shared_library asan
}

# Rust's own library is instrumented, too, or its locks would not be seen.
part_tsan() {
    if ! need_c_tools || ! need_debian_rust; then
        skipped "tsan: no compiler, no libcurl or no Debian's Rust"
        return
    fi
    built gcc -O1 -fno-builtin -c tests/c/tsan.c -o "$work/tsan.o" || return
    PATH=/usr/bin:$PATH built sanitized thread -Zbuild-std=std,panic_unwind || return
    CLOPOS_TEST_LIBRARIES=$(target_directory)/thread/$(host)/debug CLOPOS_TEST_ONLY=$THREADS \
        CLOPOS_TEST_CFLAGS="-fsanitize=thread -Wl,$work/tsan.o" \
        c_tests "tsan" c99_with_the_shared_library tsan
}

part_resources() {
    if ! need_c_tools || ! need strace strace; then
        skipped "the resources: no compiler, no libcurl or no strace"
        return
    fi
    built build_what_ships || return
    CLOPOS_TEST_LIBRARIES=$(target_directory)/release c_tests "resources" resources
    grep -E 'allocations survived' "$work/tests.log"
}

# CLOPOS_TEST_SOAK_S: how long.
part_soak() {
    need_c_tools || { skipped "the soak: no compiler"; return; }
    built build_what_ships || return
    CLOPOS_TEST_LIBRARIES=$(target_directory)/release c_tests "soak" soak::
    grep -E '^(ok - |\| )' "$work/tests.log"
}

# CLOPOS_TEST_FUZZ_S: how long, for each target.
part_fuzz() {
    if ! need_cargo_fuzz; then
        skipped "fuzzing: no C++ compiler or no cargo-fuzz"
        return
    fi
    script_tests "fuzz targets" tests/fuzz/run.sh "${CLOPOS_TEST_FUZZ_S:-60}"
    grep '^ok - ' "$work/tests.log"
}

target_directory() {
    local directory=${CARGO_TARGET_DIR:-target}
    mkdir -p "$directory" && cd "$directory" && pwd
}

# Fails if two lists differ, and says how.
same_lists() {
    diff --label "$1" --label "$3" "$2" "$4"
}

# Whether no two libraries in a program can meet over a name of ours: all that the static library
# defines is the interface, or bears the mark of its origin.
check_static_names() {
    nm -g --defined-only "$1" 2>"$work/nm.log" | awk 'NF == 3 { print $3 }' |
        grep -v -E '^(clopos_auth_|_ZN|_R|ring_core_|rust_|DW\.ref\.rust_|__)' >"$work/stray"
    if [ -s "$work/stray" ]; then
        sort -u "$work/stray"
        return 1
    fi
}

part_symbols() {
    local shared static
    shared=$(target_directory)/release/libclopos_auth.so
    static=${shared%.so}.a
    if ! need nm binutils || ! need readelf binutils; then
        skipped "the symbols: no binutils"
        return
    fi
    check "the library builds" build_what_ships
    nm -D --defined-only "$shared" | awk '{ print $3 }' | sort >"$work/exported"
    grep -o 'clopos_auth_[a-z_]*(' include/clopos_auth.h | tr -d '(' | sort -u >"$work/promised"
    check "the shared library exports what the header declares and nothing else" \
        same_lists header "$work/promised" library "$work/exported"
    readelf -d "$shared" >"$work/dynamic"
    check "its SONAME is libclopos_auth.so.1" grep -F 'soname: [libclopos_auth.so.1]' "$work/dynamic"
    check "it cannot be unloaded" grep NODELETE "$work/dynamic"
    check "the static library's other names cannot meet a program's" check_static_names "$static"
}

# deny CONFIGURATION CHECK...: of what is linked into the library or runs while it is built. The sandbox and the
# tests do not ship.
deny() {
    cargo deny --locked --config "$1" --exclude-dev --exclude clopos-sandbox check "${@:2}"
}

# refuses_the EDIT CHECK: a configuration that was changed so forbids what is there.
refuses_the() {
    sed "$1" tests/deny.toml >"$work/deny.toml" && ! cmp tests/deny.toml "$work/deny.toml" &&
        ! deny "$work/deny.toml" "$2" >"$work/denied" 2>&1 && grep -F 'ring' "$work/denied"
}

part_deny() {
    need_cargo_deny || { skipped "cargo deny: it is missing"; return; }
    check "every licence is one of those allowed" deny tests/deny.toml licenses
    check "no crate is there twice, or banned" deny tests/deny.toml bans
    check "everything comes from crates.io, the tests' crates, too" \
        cargo deny --locked --config tests/deny.toml check sources
    check "a licence that is not allowed is refused" refuses_the '/"ISC"/d' licenses
    check "a banned crate is refused" refuses_the 's/"tokio"/"ring"/' bans
    check "another source is refused" refuses_the '/^unknown-registry/a allow-registry = []' sources
}

# layout FOLDER: the offsets by the header in it.
layout() {
    cc -std=c99 "-I$1" tests/abi/layout.c -o "$work/layout" && "$work/layout"
}

same_layout() {
    layout "$1" >"$work/layout.now" &&
        awk -f tests/abi/same_layout.awk "tests/abi/1.0/layout.$(getconf LONG_BIT)" "$work/layout.now"
}

notices_a_moved_field() {
    mkdir -p "$work/moved" &&
        sed '/^typedef struct clopos_auth_token {/a int32_t planted;' include/clopos_auth.h \
            >"$work/moved/clopos_auth.h" &&
        ! same_layout "$work/moved" >"$work/moved/fields" && grep -F 'clopos_auth_token.value was 0' "$work/moved/fields"
}

# The interface as the compiler's debug information tells it.
read_interface() {
    cargo build --lib --config profile.dev.package.clopos_auth.debug=2 && abidw --no-show-locs --no-corpus-path --no-comp-dir-path \
        --out-file "$work/library.abi" "$(target_directory)/debug/libclopos_auth.so" &&
        tests/abi/reduce.py "$work/library.abi" "$work/interface.abi"
}

# changed EDIT WORDS: abidiff sees what the edit does to the interface, and says so.
changed() {
    sed -E "$1" "$work/interface.abi" >"$work/planted.abi" && ! cmp "$work/interface.abi" "$work/planted.abi" &&
        ! abidiff tests/abi/1.0/interface.abi "$work/planted.abi" >"$work/abidiff" && grep "$2" "$work/abidiff"
}

# A field at the end or a new function are changes, too: whoever means them records the interface again.
abidiff_tests() {
    if [ "$(uname -m)" != x86_64 ] || ! need abidiff abigail-tools || ! need python3 python3; then
        skipped "abidiff: the record is for x86-64, and needs abigail-tools and Python"
        return
    fi
    check "the interface can be read from the library" read_interface
    check "abidiff sees no change since 1.0" abidiff tests/abi/1.0/interface.abi "$work/interface.abi"
    check "abidiff would see a field that moved" \
        changed '/"http_status"/!s/layout-offset-in-bits="192"/layout-offset-in-bits="200"/' 'offset changed'
    check "abidiff would see a struct that grew" \
        changed 's/(name="clopos_auth_token" size-in-bits=)"320"/\1"384"/' 'size changed'
    check "abidiff would see a function that went" \
        changed '/elf-symbol name="clopos_auth_cancel"/d;/function-decl name="clopos_auth_cancel"/,/<\/function-decl>/d' \
        'Removed function'
    check "abidiff would see a status with another number" \
        changed 's/name="Dns" value="8"/name="Dns" value="9"/' 'from value'
}

# keeps PATTERN HEADER: all that matches in the first header is in this one, too.
keeps() {
    grep -o -E "$1" tests/abi/1.0/clopos_auth.h | sort -u >"$work/first"
    grep -o -E "$1" "$2" | sort -u | comm -23 "$work/first" - >"$work/lost"
    cat "$work/lost"
    [ -s "$work/first" ] && [ ! -s "$work/lost" ]
}

part_abi() {
    local version
    need cc gcc libc6-dev || { skipped "the ABI: no C compiler"; return; }
    version=$(crate_version)
    check "the .NET package has the version of Cargo.toml" \
        grep -F "<Version>$version</Version>" examples/dotnet/Clopos.Auth/Clopos.Auth.csproj
    check "no field moved since 1.0" same_layout include
    check "a field that moved would be noticed" notices_a_moved_field
    check "no number changed since 1.0" keeps '^ *CLOPOS_AUTH_[A-Z_]+ = [0-9]+' include/clopos_auth.h
    check "no function is gone since 1.0" keeps 'clopos_auth_[a-z_]+\(' include/clopos_auth.h
    abidiff_tests
}

part_wrappers() {
    local languages=(c cpp)
    need_c_tools || { skipped "the wrappers: no compiler"; return; }
    languages+=(c-asan cpp-asan)
    if need clang clang; then languages+=(cpp-clang); else skipped "C++ with clang"; fi
    if need python3 python3; then languages+=(python); else skipped "Python"; fi
    if need_go; then
        languages+=(go go-static go-race)
        if need pkg-config pkg-config; then languages+=(go-pkgconfig); else skipped "pkg-config"; fi
    else
        skipped "Go"
    fi
    if need_dotnet; then
        languages+=(dotnet)
        if need_mono; then languages+=(dotnet-mono); else skipped "Mono"; fi
        check "the .NET package brings its native libraries along" packs_native_libraries
    else
        skipped ".NET"
    fi
    script_tests "wrappers (${languages[*]})" tests/wrappers/run.sh "${languages[@]}"
}

# The .NET package with a native library for two systems: each lies where NuGet looks for it. In a copy:
# MSBuild writes beside the sources.
packs_native_libraries() {
    local source=$work/package/Clopos.Auth
    mkdir -p "$work/package" && cp -R examples/dotnet/Clopos.Auth "$work/package/" &&
        mkdir -p "$source/runtimes/linux-x64/native" "$source/runtimes/win-x64/native" &&
        echo linux >"$source/runtimes/linux-x64/native/libclopos_auth.so" &&
        echo windows >"$source/runtimes/win-x64/native/clopos_auth.dll" &&
        dotnet pack -c Release -o "$work/package" "$source" &&
        python3 - "$work"/package/*.nupkg <<'END'
import sys
import zipfile

package = zipfile.ZipFile(sys.argv[1])
names = package.namelist()
print(*names, sep="\n")
for name in (
    "lib/netstandard2.0/Clopos.Auth.dll",
    "lib/netstandard2.0/Clopos.Auth.xml",
    "runtimes/linux-x64/native/libclopos_auth.so",
    "runtimes/win-x64/native/clopos_auth.dll",
):
    if name not in names:
        sys.exit(name + " is missing")
if b"<dependency " in package.read("Clopos.Auth.nuspec"):
    sys.exit("it depends on other packages")
END
}

go_test() {
    local target
    target=$(target_directory)
    build_what_ships && cargo build -p clopos-sandbox || return
    ln -sf libclopos_auth.so "$target/release/libclopos_auth.so.1"
    CGO_CFLAGS="-I$root/include" CGO_LDFLAGS="-L$target/release" \
        LD_LIBRARY_PATH="$target/release" CLOPOS_SANDBOX="$target/debug/clopos-sandbox" \
        "$@"
}

part_gotest() {
    need_go || { skipped "Go"; return; }
    check "go vet has nothing to say" go_test go vet -C examples/go ./...
    check "go test passes with the race detector" \
        go_test go test -C examples/go -count=1 -race ./...
    check "go test passes with cgo's checks" \
        go_test env GODEBUG=cgocheck=1 go test -C examples/go -count=1 ./...
}

# What a reader is promised to see.
check_example_output() {
    check "$1: it shows the token" grep -q -E '^token: +[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.' "$2"
    check "$1: and its end as a date" grep -q -E '^expires: 20[0-9]{2}-[0-9]{2}-[0-9]{2} ' "$2"
    check "$1: and the venues" grep -q '"success":true' "$2"
}

run_example() {
    examples/run.sh "$1" >"$work/$1.out" 2>"$CLOPOS_TEST_TRANSCRIPT/example-$1.log" </dev/null ||
        { cat "$work/$1.out" "$CLOPOS_TEST_TRANSCRIPT/example-$1.log"; return 1; }
    # Its own output is the only place where a token belongs.
    sed -n 's/^token: *//p' "$work/$1.out" >>"$CLOPOS_TEST_SECRETS"
}

part_examples() {
    check "examples/run.sh c signs in" run_example c
    check_example_output c "$work/c.out"
    check "firmware.c signs in" grep -q '^token of [0-9]* bytes' "$work/c.out"
    local language
    for language in cpp go dotnet python; do
        check "examples/run.sh $language signs in" run_example "$language"
        check_example_output "$language" "$work/$language.out"
    done
    check "examples/run.sh names what it knows" names_languages
    check "firmware.c has no use of the heap" has_no_heap
}

part_platforms() {
    # shellcheck disable=SC2046 # words are wanted
    script_tests "platforms" tests/platforms.sh --tidy $(tests/platforms.sh --list)
    grep -E '^(peak memory|[a-z0-9_-]*: [0-9]* bytes)' "$work/tests.log"
}

# What part platforms has built is taken as it is.
part_release() {
    script_tests "the release" tests/release/test.sh
}

# The goals that repeat, each as one test. Times are left to the benchmarks.
part_cost() {
    script_tests "cost" tests/bench/run.sh --counts --out "$work/cost.json"
    grep '^ok - ' "$work/tests.log"
}

part_install() {
    script_tests "installing" tests/install.sh
}

names_languages() {
    ! examples/run.sh cobol >"$work/usage" 2>&1 && grep -q 'one of: c' "$work/usage"
}

has_no_heap() {
    cc -std=c99 -O2 -Iinclude -c examples/c/firmware.c -o "$work/firmware.o" || return
    ! nm -u "$work/firmware.o" | grep -E ' (malloc|calloc|realloc|free|strdup|fopen|getline)$'
}

# transcript_is_clean DIRECTORY: no secret and no token in any of its files.
transcript_is_clean() {
    ! grep -r -n -F -f "$CLOPOS_TEST_SECRETS" "$1"
}

finds_a_planted_secret() {
    local secret
    for secret in "$(head -n 1 "$CLOPOS_TEST_SECRETS")" "$(tail -n 1 "$CLOPOS_TEST_SECRETS")"; do
        rm -rf "$work/planted"
        mkdir "$work/planted"
        echo "some line with ${secret} in it" >"$work/planted/log"
        ! transcript_is_clean "$work/planted" || return 1
    done
}

at_least() {
    echo "$2 of at least $1"
    [ "$2" -ge "$1" ]
}

part_secrets() {
    if [ ! -e "$CLOPOS_TEST_SECRETS" ]; then
        # Nothing else ran: there is nothing to search yet.
        part_c
    fi
    sort -u -o "$CLOPOS_TEST_SECRETS" "$CLOPOS_TEST_SECRETS"
    sed -i '/^$/d' "$CLOPOS_TEST_SECRETS"
    check "there are lines to search" at_least 100 \
        "$(find "$CLOPOS_TEST_TRANSCRIPT" -type f -exec cat {} + | grep -c .)"
    check "there are secrets to search for" at_least 20 "$(wc -l <"$CLOPOS_TEST_SECRETS")"
    check "a planted secret is found" finds_a_planted_secret
    check "no line holds a secret or a token" transcript_is_clean "$CLOPOS_TEST_TRANSCRIPT"
}

is_part() {
    case " ${PARTS[*]} " in
    *" $1 "*) ;;
    *) return 1 ;;
    esac
}

run_part() {
    local start=$SECONDS good=$total_passed bad=$total_failed missed=$total_skipped
    echo "=== $1"
    "part_$1"
    if [ $((total_passed + total_failed + total_skipped)) = $((good + bad + missed)) ]; then
        echo "not ok - the part $1 ran no test"
        failed 1
    fi
    printf '%-12s %4d passed, %d failed, %d skipped in %d s\n' "$1" $((total_passed - good)) \
        $((total_failed - bad)) $((total_skipped - missed)) $((SECONDS - start)) |
        tee -a "$work/durations"
}

if [ "${1:-}" = --list ]; then
    printf '%s\n' "${PARTS[@]}"
    exit
fi
for part in "$@"; do
    if ! is_part "$part"; then
        echo "no part is named $part; there are: ${PARTS[*]}" >&2
        exit 2
    fi
done
if ! need_rust; then
    echo "0 passed, 1 failed"
    exit 1
fi
[ $# != 0 ] || set -- "${PARTS[@]}"
for part in "$@"; do
    run_part "$part"
done

echo "=== in all, $SECONDS s"
cat "$work/durations"
if [ "$total_skipped" = 0 ]; then
    echo "$total_passed passed, $total_failed failed"
else
    echo "$total_passed passed, $total_failed failed, $total_skipped skipped"
fi
[ "$total_failed" = 0 ] && [ "$total_passed" != 0 ] || exit 1
# On CI, everything has to run.
[ -z "${CI:-}" ] || [ "$total_skipped" = 0 ]
