#!/usr/bin/env bash
# examples/run.sh signs in, in every language
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

run_example() {
    local log=${CLOPOS_TEST_TRANSCRIPT:-$work}/example-$1.log
    examples/run.sh "$1" >"$work/$1.out" 2>"$log" </dev/null || { cat "$work/$1.out" "$log"; return 1; }
    # A token may be in its output only.
    sed -n 's/^token: *//p' "$work/$1.out" >>"${CLOPOS_TEST_SECRETS:-/dev/null}"
}

shows() {
    cat "$1"
    grep -q -E '^token: +[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.' "$1" &&
        grep -q -E '^expires: 20[0-9]{2}-[0-9]{2}-[0-9]{2} ' "$1" && grep -q '"success":true' "$1"
}

# Not `no token: WOULD_WAIT`: the sandbox may answer during the first call.
loops() {
    cat "$1"
    grep -q '^token [0-9]*, expires in 3[56][0-9][0-9] s$' "$1" &&
        grep -q '^longest time away from the loop: [0-9.]* ms, of 5 ms at most$' "$1"
}

names_languages() {
    ! examples/run.sh cobol >"$work/usage" 2>&1 && grep 'one of: c' "$work/usage"
}

has_no_heap() {
    cc -std=c99 -O2 -Iinclude -c examples/c/firmware.c -o "$work/firmware.o" || return
    ! nm -u "$work/firmware.o" | grep -E ' (malloc|calloc|realloc|free|strdup|fopen|getline)$'
}

# In a folder with only the example. CLOPOS_AUTH_ROOT is the folder "installed".
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

# The README's program in a language. The C program is tested in tests/readme.rs.
readme_block() {
    awk -v "start=\`\`\`$1" '$0 == start { inside = 1; next } /^```/ { inside = 0 } inside' README.md | grep .
}

# says_what_is_missing COMMAND...: without credentials nothing is sent, and the error names the first one.
says_what_is_missing() {
    LD_LIBRARY_PATH=$libraries "$@" >"$work/readme.out" 2>&1
    grep client_id "$work/readme.out" || { cat "$work/readme.out"; return 1; }
}

readme_cpp() {
    readme_block cpp >"$work/readme.cpp" && c++ -std=c++17 -Wall -Wextra -Wpedantic -Werror -Iinclude "$work/readme.cpp" \
        -L"$libraries" -lclopos_auth -o "$work/readme" && says_what_is_missing "$work/readme"
}

readme_go() {
    mkdir -p "$work/go" && need_go || return
    printf 'module readme\n\ngo 1.24\n\nrequire cloposauth v0.0.0\n\nreplace cloposauth => %s\n' "$root/examples/go" >"$work/go/go.mod"
    {
        printf 'package main\n\nimport (\n"cloposauth"\n"log"\n"net/http"\n)\n\nvar id, secret, brand, integrator string\n\nfunc main() {\n'
        readme_block go && printf '_, _ = response, err\n}\n'
    } >"$work/go/main.go" && CGO_CFLAGS=-I$root/include CGO_LDFLAGS=-L$libraries go build -C "$work/go" -o readme . &&
        says_what_is_missing "$work/go/readme"
}

readme_dotnet() {
    need_dotnet && mkdir -p "$work/dotnet" && cp -R examples/dotnet "$work/dotnet/" && mkdir "$work/dotnet/dotnet/Readme" || return
    cp examples/dotnet/Login/Login.csproj "$work/dotnet/dotnet/Readme/Readme.csproj"
    {
        printf 'using System.Net.Http;\nusing System.Threading.Tasks;\nusing Clopos.Auth;\ninternal static class Program\n{\n'
        printf 'private static async Task Main()\n{\nstring id = "", secret = "", brand = "", integrator = "";\n'
        readme_block csharp && printf '}\n}\n'
    } >"$work/dotnet/dotnet/Readme/Program.cs" &&
        dotnet build --nologo -v quiet -c Release -o "$work/dotnet/out" "$work/dotnet/dotnet/Readme" &&
        says_what_is_missing dotnet "$work/dotnet/out/Readme.dll"
}

readme_python() {
    {
        echo 'id = secret = brand = integrator = ""' && readme_block python
    } >"$work/readme.py" && PYTHONPATH=examples/python CLOPOS_AUTH_LIBRARY=$libraries/libclopos_auth.so \
        says_what_is_missing python3 "$work/readme.py"
}

libraries=$(target_directory)/release
for language in c cpp go dotnet python; do
    check "examples/run.sh $language signs in" run_example "$language"
    check "examples/run.sh $language prints the token, its expiry as a date, and the venues" shows "$work/$language.out"
done
for language in cpp go dotnet python; do
    check "the README's program in $language builds, and names a missing credential" "readme_$language"
done
for language in c cpp; do
    check "event_loop.$language gets a token without waiting for it" loops "$work/$language.out"
done
check "firmware.c signs in" grep '^token of [0-9]* bytes' "$work/c.out"
check "firmware.c does not use the heap" has_no_heap
check "CMake names what the C++ examples need, and where to put it" names_what_is_missing
check "an unknown language is refused, with the list of languages" names_languages
