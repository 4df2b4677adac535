# shellcheck shell=bash
# shellcheck disable=SC2154 # set by the scripts that source this
# Sourced by tests/platforms/test.sh: what is tested on Windows only.

# imported FILE: "DLL FUNCTION" for each function that it imports.
imported() {
    "${binutils}objdump" -p "$1" | tr -d '\r' | awk '
        /DLL Name: / { dll = tolower($3) }
        NF == 0 { dll = "" }
        dll != "" && NF == 3 && $2 ~ /^[0-9]+$/ { print dll, $3 }' | sort -u
}

imports_only_what_windows_7_has() {
    awk '!/^#/ && $3 ~ /^(2000|XP|2003|Vista|7)$/ && NF >= 4 { print $1, $2 }' tests/platforms/windows7 | sort -u >"$work/windows7"
    imported "$dist/clopos_auth.dll" >"$work/imported"
    grep -q '^ws2_32.dll connect$' "$work/imported" && comm -13 "$work/windows7" "$work/imported" >"$work/newer"
    cat "$work/newer"
    [ ! -s "$work/newer" ]
}

# As with Visual Studio, with LLVM's compiler and linker: Microsoft's ABI, on x86 another default calling convention and
# safe exception handlers, and clopos_auth.lib. There is no C library for that here: the program has none.
links_as_visual_studio_does() {
    local machine=x64 options=() decoration='s/@.*//' folder=$work/windows
    [[ $target != i686-* ]] || machine=x86 options=(/Gz) decoration=''
    printf '%s\n' CreateFileA@28 ExitProcess@4 GetEnvironmentVariableA@12 GetStdHandle@4 ReadFile@20 WriteFile@20 |
        sed "$decoration" | import_library kernel32 "$folder" &&
        clang --driver-mode=cl "--target=${target%%-*}-pc-windows-msvc" /nologo /c /W4 /WX /O2 /GS- "${options[@]}" \
            /Iinclude "/Fo$folder/visual_studio.obj" tests/platforms/visual_studio.c &&
        lld-link /nologo "/machine:$machine" /subsystem:console /entry:start /nodefaultlib \
            "/out:$folder/visual_studio.exe" "$folder/visual_studio.obj" "$dist/clopos_auth.lib" "$folder/kernel32.lib" &&
        run_program "$dist" "$folder/visual_studio"
}

# In a host that has loaded MinGW's libgcc, which is a DLL, before the library: see link_options.
contains_a_panic_beside_libgcc() {
    local dll folder=$work/windows
    dll=$("${binutils}gcc" -print-file-name=libgcc_s_dw2-1.dll) && cp "$dll" "$folder/" &&
        "${binutils}gcc" "${WARNINGS[@]}" -shared -static-libgcc -Dmain=smoke -Iinclude tests/platforms/smoke.c \
            "$injected/libclopos_auth.dll.a" -o "$folder/smoke.dll" &&
        compile tests/platforms/beside_libgcc.c "$injected" "$folder/beside-libgcc" &&
        run_program "$injected" "$folder/beside-libgcc" panic
}

# The tests of the .NET wrapper, in a 32-bit process of Windows.
run_dotnet() {
    if ! need_dotnet || ! need_dotnet_x86; then
        skipped "$target: .NET in a 32-bit process"
        return 1
    fi
    CLOPOS_AUTH_LIBRARIES=$root/$dist WINEPREFIX=$work/wine tool_tests "$target: .NET" tests/wrappers/run.sh dotnet-wine32
}
