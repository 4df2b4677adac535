#!/usr/bin/env bash
# Tests an archive that tests/release.sh makes: that it can be made again, that all that it promises is in it,
# and that programs build against it, wherever it is unpacked, and sign in.

# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"
# shellcheck source=tests/install/programs.sh
. tests/install/programs.sh
# shellcheck source=tests/platforms/target.sh
. tests/platforms/target.sh
# shellcheck source=tests/release/sandbox.sh
. tests/release/sandbox.sh

# The same sources in another folder, by somebody with other habits.
makes_the_same_again() {
    local other=$work/another/folder
    mkdir -p "$other/target" && tar --exclude=target --exclude=./.git -cf - . | tar -xf - -C "$other" &&
        mkdir -p "$toolchains" && ln -s "$toolchains" "$other/target/toolchains" || return
    # Cargo's own folder, under another name.
    mkdir "$work/cargo" && ln -s "${CARGO_HOME:-$HOME/.cargo}"/* "$work/cargo/" || return
    (umask 077 && CARGO_HOME=$work/cargo TZ=Asia/Baku "$other/tests/release.sh" "$target") || return
    cmp "target/archives/$name.tar.xz" "$other/target/archives/$name.tar.xz" && rm -rf "$other"
}

# The archive of $name, to $prefix.
unpack() (
    archive=$name.tar.xz unpacked=(tar -C "$work/unpacked" -xf "target/archives/$name.tar.xz")
    if is_windows; then
        archive=$name.zip unpacked=(python3 -m zipfile -e "target/archives/$name.zip" "$work/unpacked")
    fi
    (cd target/archives && sha256sum -c "$archive.sha256") && mkdir -p "$work/unpacked" && "${unpacked[@]}" &&
        cd "$prefix" && sha256sum -c --quiet SHA256SUMS &&
        # Every file has a sum.
        [ "$(find . -type f ! -name SHA256SUMS | wc -l)" = "$(wc -l <SHA256SUMS)" ]
)

notices_a_changed_byte() {
    cp -R "$prefix" "$work/changed" && printf x >>"$work/changed/lib/libclopos_auth.a" &&
        ! (cd "$work/changed" && sha256sum -c --quiet SHA256SUMS)
}

has_everything() {
    local file
    for file in README.md LICENSE-MIT LICENSE-APACHE sbom.cdx.json include/clopos_auth.h \
        include/clopos_auth.hpp lib/libclopos_auth.a lib/libclopos_auth.so lib/libclopos_auth.so.1 \
        "lib/libclopos_auth.so.$version" lib/pkgconfig/clopos_auth.pc \
        share/clopos_auth/cmake/clopos_auth-config.cmake \
        share/clopos_auth/cmake/clopos_auth-config-version.cmake CMakeLists.txt CHANGELOG.md \
        bindings/cpp/clopos_auth.hpp bindings/go/go.mod bindings/dotnet/Clopos.Auth/Clopos.Auth.csproj \
        bindings/python/clopos_auth/__init__.py examples/c/login.c examples/cpp/CMakeLists.txt \
        bin/clopos-doctor bin/clopos-sandbox share/clopos-sandbox/sbom.cdx.json; do
        [ -s "$prefix/$file" ] || { echo "missing: $file"; return 1; }
    done
    [ "$(readlink "$prefix/lib/libclopos_auth.so.1")" = "libclopos_auth.so.$version" ] &&
        readelf -d "$prefix/lib/libclopos_auth.so" | grep -F "soname: [libclopos_auth.so.${version%%.*}]"
}

# Each link leads to a file of the archive, and what runs or is edited is in it.
readme_needs_only_the_archive() {
    local link
    grep -o -h '](\([^)]*\))' "$prefix/README.md" "$prefix/CHANGELOG.md" | sed 's/^](//; s/)$//' >"$work/links"
    grep -c . "$work/links" || return
    while read -r link; do
        case $link in https://*) continue ;; esac
        [ -e "$prefix/$link" ] || { echo "leads nowhere: $link"; return 1; }
    done <"$work/links"
    ! grep -n -E 'cargo|tests/|target/|run\.sh' "$prefix/README.md"
}

# It would talk to the real service, so it gets no credentials.
# shellcheck disable=SC2016 # the dollar sign is sed's
readmes_program_compiles() {
    sed -n '/^```c$/,/^```$/{/^```/d; p}' "$prefix/README.md" >"$work/readme.c"
    grep -q clopos_auth_get_token "$work/readme.c" &&
        cc -std=c99 -Wall -Wextra -Wpedantic -Werror -I"$prefix/include" "$work/readme.c" -L"$prefix/lib" -lclopos_auth \
            -o "$work/readme" || return
    ! (unset CLOPOS_CLIENT_ID && runs "$work/readme") 2>"$work/readme.log" &&
        grep 'INVALID_ARGUMENT.*client_id' "$work/readme.log"
}

# needs_only_the_system PROGRAM: glibc 2.17, and no library that not every system has.
needs_only_the_system() {
    local newest
    newest=$(readelf -V "$1" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -Vu | tail -n 1)
    echo "needs glibc $newest"
    readelf -d "$1" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' >"$work/needed"
    ! grep -v -E '^(ld-linux.*|lib(c|pthread|dl|m|rt)\.so(\.[0-9])?)$' "$work/needed" &&
        [ "$(printf '%s\n' "$newest" 2.17 | sort -V | tail -n 1)" = 2.17 ]
}

is_static() {
    readelf -l "$1" >"$work/headers" && grep LOAD "$work/headers" && ! grep -E 'INTERP|DYNAMIC' "$work/headers"
}

doctor_signs_in() {
    needs_only_the_system "$prefix/bin/clopos-doctor" && "$prefix/bin/clopos-doctor"
}

# As its README says, with the sandbox's port instead of the one that it takes without being told.
# shellcheck disable=SC2016 # the dollar sign is sed's
signs_in_as_the_readme_says() (
    sed -n '/^```sh$/,/^```$/{/^```/d; p}' "$prefix/README.md" >"$work/readme.sh"
    "$prefix/bin/clopos-sandbox" --help | grep -F 'default: 127.0.0.1:8443' && grep 'clopos-sandbox --ca-file ca.pem' "$prefix/README.md" &&
        grep -c CLOPOS_ "$work/readme.sh" || exit
    sed "s,https://localhost:8443,$CLOPOS_BASE_URL,; s,=ca\.pem,=$CLOPOS_CA_FILE," "$work/readme.sh" >"$work/changed.sh"
    ! cmp "$work/readme.sh" "$work/changed.sh" && unset "${!CLOPOS_@}" && cd "$prefix" && bash -eux "$work/changed.sh"
)

# A program's own folder, away from this one.
through_fetch_content() {
    local outside=$work/outside sum program
    mkdir -p "$outside" && cp -R tests/install "$outside/" && mkdir "$outside/platforms" &&
        cp tests/platforms/smoke.c "$outside/platforms" && sum=$(cut -d ' ' -f 1 "target/archives/$name.tar.xz.sha256") &&
        cmake -S "$outside/install" -B "$outside/build" -DCLOPOS_AUTH_SHA256="$sum" \
            -DCLOPOS_AUTH_URL="file://$root/target/archives/$name.tar.xz" && cmake --build "$outside/build" || return
    # Without LD_LIBRARY_PATH: CMake tells each where its library is.
    for program in c-shared c-static cpp-shared cpp-static; do "$outside/build/$program" || return; done
    ! readelf -d "$outside/build/c-static" "$outside/build/cpp-static" | grep -F libclopos_auth
}

examples_sign_in() {
    cmake -S "$prefix/examples/cpp" -B "$work/examples" && cmake --build "$work/examples" &&
        "$work/examples/login" | grep '"success":true' && sleep 1 | "$work/examples/event_loop" | grep '^token '
}

python_binding_signs_in() {
    PYTHONPATH=$prefix/bindings/python PYTHONDONTWRITEBYTECODE=1 CLOPOS_AUTH_LIBRARY=$prefix/lib/libclopos_auth.so \
        python3 -m clopos_auth | grep '"success": *true'
}

go_binding_signs_in() {
    CGO_CFLAGS=-I$prefix/include CGO_LDFLAGS=-L$prefix/lib go build -C "$prefix/bindings/go" -tags clopos_auth_static \
        -o "$work/go-login" ./login && "$work/go-login" | grep '"success":true'
}

# A project of its own, which refers to the package's project in the archive.
dotnet_binding_signs_in() {
    mkdir "$work/till" && cp "$prefix/bindings/dotnet/Login/Program.cs" "$work/till" &&
        sed "s,\.\./Clopos\.Auth/,$prefix/bindings/dotnet/Clopos.Auth/," "$prefix/bindings/dotnet/Login/Login.csproj" \
            >"$work/till/Till.csproj" && grep -F "$prefix/bindings/dotnet/Clopos.Auth/Clopos.Auth.csproj" "$work/till/Till.csproj" &&
        CloposAuthNativeLibrary=$prefix/lib/libclopos_auth.so dotnet build -c Release -o "$work/till/built" "$work/till" &&
        dotnet "$work/till/built/Till.dll" >"$work/signed_in" && grep '^token: ' "$work/signed_in"
}

# names_every_crate PACKAGE NAME FOLDER TARGET: what cargo itself says is linked, the SBOM and the licence texts in the folder
# name the same crates.
names_every_crate() {
    local prefix=$3
    cargo tree --locked --package "$1" --target "$4" --edges normal,no-proc-macro --prefix none --no-dedupe \
        --format '{p}' | sed -n '2,$s/ v\([^ ]*\).*/-\1/p' | sort -u >"$work/linked"
    tests/release/list_components.py "$prefix/sbom.cdx.json" "$2" >"$work/listed"
    [ -s "$work/linked" ] && diff --label cargo "$work/linked" --label SBOM <(sort "$work/listed") || return
    local crate
    while read -r crate; do
        find "$prefix/licenses/$crate" -type f -size +0 | grep -q . || { echo "no text: $crate"; return 1; }
    done <"$work/linked"
    # The standard library's, and those of what the linker adds.
    grep -q 'Permission is hereby granted' "$prefix"/licenses/rust-std-*/copyright &&
        grep -q 'LLVM Exceptions' "$prefix"/licenses/zig-libunwind-*/LICENSE.TXT &&
        { [[ $4 != *-musl ]] || grep -q 'Permission is hereby granted' "$prefix"/licenses/zig-musl-*/COPYRIGHT; }
}

refuses_a_crate_without_a_licence_text() (
    mkdir -p "$work/injected/src" "$work/injected/bare/src" "$work/injected.out" && cd "$work/injected" &&
        touch src/lib.rs bare/src/lib.rs || return
    printf '[package]\nname = "injected"\nversion = "1.0.0"\nlicense = "MIT"\n[dependencies]\nbare = { path = "bare" }\n' \
        >Cargo.toml
    printf '[package]\nname = "bare"\nversion = "1.0.0"\nlicense = "MIT"\n' >bare/Cargo.toml
    cargo generate-lockfile --offline &&
        ! "$root/tests/release/components.py" "$target" "$work/injected.out" injected 2>"$work/refused" &&
        grep -F 'no licence text: bare 1.0.0' "$work/refused" || return
    echo "Permission is hereby granted" >bare/LICENSE
    "$root/tests/release/components.py" "$target" "$work/injected.out" injected
)

# Of the target, which part platforms has built: its archive is made, all sums in it are right, and a C program links
# with each of the libraries in it, as pkg-config tells, if there is a linker for the target.
is_made_and_links() {
    local compiler=("${binutils}gcc") libraries
    tests/release.sh "$target" && unpack && grep -q CycloneDX "$prefix/sbom.cdx.json" &&
        { [[ $target = *-android* ]] || ls "$prefix"/bin/clopos-doctor*; } &&
        libraries=$(pkg-config --static --libs-only-l clopos_auth) || return
    ! is_android || return 0
    if is_windows; then
        [ -s "$prefix/lib/clopos_auth.lib" ] || { echo "missing: clopos_auth.lib" >&2; return 1; }
    else
        # The static library takes zig's unwinder.
        compiler=(zig cc -target "$zig_target")
        libraries="$libraries -lunwind"
    fi
    # shellcheck disable=SC2046,SC2086 # words are wanted
    "${compiler[@]}" -std=c99 tests/platforms/smoke.c $(pkg-config --cflags --libs clopos_auth) \
        -o "$work/other-shared" &&
        "${compiler[@]}" -std=c99 tests/platforms/smoke.c $(pkg-config --cflags clopos_auth) \
            "$prefix/lib/libclopos_auth.a" ${libraries/-lclopos_auth/} -o "$work/other-static"
}

through_cmake() {
    local program
    builds_with_cmake || return
    for program in c-shared c-static cpp-shared cpp-static; do
        runs "$work/cmake/$program" || return
    done
}

# Under Wine. The doctor is this machine's.
signs_in_to_the_sandbox_for_windows() {
    local status=0
    local -x WINEPREFIX=$work/wine WINEDEBUG=-all WINEDLLOVERRIDES='mscoree,mshtml='
    sandbox_command=("${runner[@]}" "$prefix/bin/clopos-sandbox.exe")
    start_sandbox && "$doctor" || status=$?
    stop_sandbox
    /usr/lib/wine/wineserver64 -k
    return "$status"
}

# test_archive TARGET: of another platform.
test_archive() {
    choose "$1"
    name=libclopos_auth-$version-$target prefix=$work/unpacked/libclopos_auth-$version-$target
    export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
    check "an archive for $target is made, and programs link with it" is_made_and_links
    has_sandbox && is_windows || return 0
    if need_tools; then
        check "a program signs in to its sandbox ($target)" signs_in_to_the_sandbox_for_windows
    else
        skipped "the sandbox for $target: a tool is missing"
    fi
}

# Of this machine's platform.
test_this_archive() {
    check "a changed byte is noticed" notices_a_changed_byte
    check "everything is in it" has_everything
    check "SBOM and licence texts are of every crate that is linked" names_every_crate clopos_auth libclopos_auth "$prefix" "$target"
    check "those of the sandbox, too" names_every_crate clopos-sandbox clopos-sandbox "$prefix/share/clopos-sandbox" "$sandbox_target"
    check "a crate without a licence text is refused" refuses_a_crate_without_a_licence_text
    check "its sandbox is static" is_static "$prefix/bin/clopos-sandbox"
    check "its sandbox starts" start_packaged_sandbox || return
    check "its doctor signs in to it as its README says" signs_in_as_the_readme_says
    export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
    local c=(cc -std=c99 -Wall -Wextra -Wpedantic -Werror tests/platforms/smoke.c)
    check "pkg-config knows the version" pkg-config --exact-version="$version" clopos_auth
    check "a C program signs in, found by pkg-config, shared" through_pkg_config shared "${c[@]}"
    check "a C program signs in, found by pkg-config, static" through_pkg_config_static static "${c[@]}"
    check "C and C++ programs sign in, found by CMake, shared and static" through_cmake
    check "C and C++ programs sign in that fetch the archive with CMake's FetchContent" through_fetch_content
    check "its README links to what is in it, and has no command that needs more" readme_needs_only_the_archive
    check "its README's program compiles" readmes_program_compiles
    check "its doctor signs in, with glibc 2.17 or newer" doctor_signs_in
    check "its C++ examples build where it is unpacked, and sign in" examples_sign_in
    check "its Python package signs in" python_binding_signs_in
    if need_go; then check "its Go package signs in" go_binding_signs_in; else skipped "the archive's Go package"; fi
    if need_dotnet; then check "its .NET package signs in" dotnet_binding_signs_in; else skipped "the archive's .NET package"; fi
    stop_sandbox
}

# All that comes after the archive of this machine, which the others need.
test_the_rest() {
    case $1 in
    again) check "the same bytes are made in another folder" makes_the_same_again ;;
    "$target") test_this_archive ;;
    *) [ ! -e "target/platforms/$1/dist" ] || test_archive "$1" ;;
    esac
}

clean_up() { stop_sandbox; }

choose x86_64-unknown-linux-gnu
version=$(crate_version)
name=libclopos_auth-$version-$target
prefix=$work/unpacked/$name
if [ "$(uname -sm)" != "Linux x86_64" ] || ! need_rust || ! need_zig || ! need_debian_rust || ! need c++ g++ ||
    ! need cmake cmake make || ! need pkg-config pkg-config || ! need readelf binutils || ! need xz xz-utils ||
    ! need python3 python3 || ! need cmp diffutils; then
    skip_all "the release: a tool is missing"
fi
# The copy has no history to take the time from.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 1700000000)}
export SOURCE_DATE_EPOCH
check "an archive is made" tests/release.sh "$target"
check "its sum and the sums in it are right" unpack
doctor=$prefix/bin/clopos-doctor
# shellcheck disable=SC2046 # words are wanted
two_at_a_time test_the_rest again $(tests/platforms.sh --list)
