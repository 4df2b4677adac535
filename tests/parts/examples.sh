#!/usr/bin/env bash
# examples/run.sh signs in, in every language
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

run_example() {
    local log=${CLOPOS_TEST_TRANSCRIPT:-$work}/example-$1.log
    examples/run.sh "$1" >"$work/$1.out" 2>"$log" </dev/null || { cat "$work/$1.out" "$log"; return 1; }
    # Its own output is the only place where a token belongs.
    sed -n 's/^token: *//p' "$work/$1.out" >>"${CLOPOS_TEST_SECRETS:-/dev/null}"
}

shows() {
    cat "$1"
    grep -q -E '^token: +[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.' "$1" &&
        grep -q -E '^expires: 20[0-9]{2}-[0-9]{2}-[0-9]{2} ' "$1" && grep -q '"success":true' "$1"
}

loops() {
    cat "$1"
    grep -q '^no token: WOULD_WAIT$' "$1" && grep -q '^token [0-9]*, expires in 3[56][0-9][0-9] s$' "$1" &&
        grep -q '^longest time away from the loop: [0-9.]* ms, of 5 ms at most$' "$1"
}

names_languages() {
    ! examples/run.sh cobol >"$work/usage" 2>&1 && grep 'one of: c' "$work/usage"
}

has_no_heap() {
    cc -std=c99 -O2 -Iinclude -c examples/c/firmware.c -o "$work/firmware.o" || return
    ! nm -u "$work/firmware.o" | grep -E ' (malloc|calloc|realloc|free|strdup|fopen|getline)$'
}

# In a folder that has nothing beside the example; what is missing is looked for in the folder "installed".
cmake_says() {
    env -u CARGO_TARGET_DIR cmake -S "$work/alone/examples/cpp" -B "$work/alone/build" \
        -DCLOPOS_AUTH_ROOT="$work/alone/installed" >"$work/alone/log" 2>&1 && return 1
    cat "$work/alone/log"
    tr -s '\n ' ' ' <"$work/alone/log" >"$work/alone/text"
    grep -F "$1 is missing: set CLOPOS_AUTH_ROOT to the folder that has" "$work/alone/text"
}

names_what_is_missing() {
    need cmake cmake make && mkdir -p "$work/alone/examples" "$work/alone/installed/include" &&
        cp -R examples/cpp "$work/alone/examples" && cmake_says clopos_auth.hpp &&
        cp include/*.h* "$work/alone/installed/include" && cmake_says 'the library libclopos_auth'
}

for language in c cpp go dotnet python; do
    check "examples/run.sh $language signs in" run_example "$language"
    check "examples/run.sh $language shows the token, its end as a date, and the venues" shows "$work/$language.out"
done
for language in c cpp; do
    check "event_loop.$language gets a token without waiting for it" loops "$work/$language.out"
done
check "firmware.c signs in" grep '^token of [0-9]* bytes' "$work/c.out"
check "firmware.c does not use the heap" has_no_heap
check "CMake says what the C++ examples miss, and where to put it" names_what_is_missing
check "an unknown language is refused with the list of those that there are" names_languages
