#!/usr/bin/env bash
# Tests Python's wheels: that they hold what they list, that the library needs no newer glibc than the name says, that the
# same bytes are made again, and that an empty environment without a network installs one and signs in with it.

# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"
# shellcheck source=tests/release/sandbox.sh
. tests/release/sandbox.sh
# shellcheck source=tests/platforms/target.sh
. tests/platforms/target.sh
# shellcheck source=tests/release/wheels.sh
. tests/release/wheels.sh

wheel_of() {
    echo "target/archives/clopos_auth-$version-py3-none-$(wheel_tag "$1").whl"
}

# Each file is in RECORD with its sum, and what a user needs is there.
holds_what_it_lists() {
    python3 - "$1" <<'END'
import base64, csv, hashlib, sys, zipfile

with zipfile.ZipFile(sys.argv[1]) as wheel:
    names = wheel.namelist()
    [record] = [name for name in names if name.endswith(".dist-info/RECORD")]
    rows = list(csv.reader(wheel.read(record).decode().splitlines()))
    assert sorted(row[0] for row in rows) == sorted(names), "RECORD lists other files"
    for name, digest, size in rows:
        content = wheel.read(name)
        found = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        assert name == record or (digest, size) == ("sha256=" + found, str(len(content))), name
    ends = "clopos_auth/__main__.py", "clopos_auth/py.typed", "licenses/LICENSE-MIT", "licenses/LICENSE-APACHE", "/METADATA"
    for end in ends:
        assert any(name.endswith(end) for name in names), f"no {end}"
    assert sum(name.endswith((".so", ".dll")) for name in names) == 1, "not one library"
    assert sum("/licenses/licenses/rustls-" in name for name in names) > 0, "no licence of what is linked in"
END
}

notices_a_changed_file() {
    python3 - "$1" "$work/changed.whl" <<'END' && ! holds_what_it_lists "$work/changed.whl"
import sys, zipfile

with zipfile.ZipFile(sys.argv[1]) as wheel, zipfile.ZipFile(sys.argv[2], "w") as changed:
    for name in wheel.namelist():
        changed.writestr(name, wheel.read(name) + (b"#" if name.endswith("/__main__.py") else b""))
END
}

need_auditwheel() {
    fetch auditwheel from_pypi auditwheel==6.4.2 pyelftools==0.32 packaging==25.0
}

# fits_its_name WHEEL TAG: the tool of Python's packaging authority finds no library that a system may not have, and no
# newer C library than the tag says.
fits_its_name() {
    local found
    PYTHONPATH=$toolchains/auditwheel python3 -m auditwheel show "$1" >"$work/found"
    cat "$work/found"
    found=$(tr '\n' ' ' <"$work/found" | sed -n 's/.* following platform tag: *"\([^"]*\)".*/\1/p') && [ -n "$found" ] &&
        [ "$(printf '%s\n' "$found" "$2" | sort -V | tail -n 1)" = "$2" ]
}

# auditwheel knows musl only where it is the system's C library. The oldest one here is Debian's, 1.2.
needs_only_musl() {
    python3 -c 'import sys, zipfile; sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read("clopos_auth/libclopos_auth.so"))' \
        "$1" >"$work/library.so" && readelf --dynamic --wide "$work/library.so" | grep NEEDED >"$work/needed"
    cat "$work/needed"
    [ "$(grep -o '\[.*\]' "$work/needed")" = '[libc.so]' ] || return
    nm --dynamic --undefined-only "$work/library.so" | awk '$1 == "U" { print $2 }' | sort -u >"$work/wanted"
    nm --dynamic --defined-only /lib/ld-musl-x86_64.so.1 | awk '{ print $3 }' | sort -u | comm -13 - "$work/wanted" >"$work/unknown"
    grep -q '^malloc$' "$work/wanted" && cat "$work/unknown" && [ ! -s "$work/unknown" ]
}

notices_an_older_name() {
    local older=$work/clopos_auth-$version-py3-none-manylinux_2_5_x86_64.whl
    cp "$1" "$older" && ! fits_its_name "$older" manylinux_2_5_x86_64
}

# makes_the_same_again WHEEL TARGET
makes_the_same_again() {
    cp "$1" "$work/first.whl" && (umask 077 && TZ=Asia/Baku tests/release/wheel.sh "$2") && cmp "$work/first.whl" "$1"
}

# without_network COMMAND...: only the loopback is there, where the sandbox is not.
without_network() {
    if [ "$(id -u)" = 0 ]; then unshare --net "$@"; else "$@"; fi
}

installs() {
    python3 -m venv "$work/empty" && without_network "$work/empty/bin/pip" install --no-index "$1"
}

# In a folder of its own, without anything that leads to the library elsewhere.
user() {
    (cd "$work/user" && env -u LD_LIBRARY_PATH -u CLOPOS_AUTH_LIBRARY -u PYTHONPATH "$work/empty/bin/python" "$@")
}

signs_in() {
    mkdir -p "$work/user" && user -m clopos_auth >"$work/signed_in" && grep -q '^token:  *eyJ' "$work/signed_in" &&
        grep -q '"success":true' "$work/signed_in" &&
        user -c 'import clopos_auth; assert clopos_auth.version() == clopos_auth.__version__; print(clopos_auth.__file__)' |
        grep -F "$work/empty/"
}

# A user's program is checked against the package's types.
is_typed_for_its_user() {
    fetch mypy from_pypi mypy==1.14.1 mypy-extensions==1.0.0 typing-extensions==4.12.2 tomli==2.2.1 || return
    echo 'import clopos_auth; reveal_type(clopos_auth.Token("a").value)' >"$work/user/typed.py"
    PYTHONPATH=$toolchains/mypy python3 -m mypy --strict --cache-dir "$work/mypy" --python-executable "$work/empty/bin/python" \
        "$work/user/typed.py" | grep -F 'Revealed type is "builtins.str"'
}

uninstalls() {
    "$work/empty/bin/pip" uninstall --yes clopos-auth && ! find "$work/empty" -name '*clopos*' | grep .
}

# pip builds it from examples/python; setuptools does the work.
installs_from_the_sources() {
    fetch setuptools from_pypi setuptools==75.8.0 wheel==0.45.1 && cp -R examples/python "$work/sources" &&
        PYTHONPATH=$toolchains/setuptools without_network "$work/empty/bin/pip" install --no-index --no-build-isolation \
            "$work/sources" &&
        (cd "$work/user" && CLOPOS_AUTH_LIBRARY=$work/libclopos_auth.so "$work/empty/bin/python" -m clopos_auth >"$work/signed_in") &&
        grep -q '^token:  *eyJ' "$work/signed_in"
}

clean_up() { stop_sandbox; }

version=$(crate_version)
target=x86_64-unknown-linux-gnu
if ! need python3 python3 || ! { python3 -c 'import venv, ensurepip' 2>/dev/null || apt_install python3-venv; }; then
    skip_all "Python's wheels: Python or its module venv is missing"
fi
for another in $(tests/platforms.sh --list); do
    has_wheel "$another" || continue
    name=libclopos_auth-$version-$another
    [ -e "target/archives/$name.tar.xz" ] || [ -e "target/archives/$name.zip" ] || continue
    wheel=$(wheel_of "$another")
    check "a wheel for $another is made" tests/release/wheel.sh "$another"
    check "the same wheel is made again ($another)" makes_the_same_again "$wheel" "$another"
    check "it holds what it lists, and what a user needs ($another)" holds_what_it_lists "$wheel"
    case $another in
    *-musl)
        if need /lib/ld-musl-x86_64.so.1 musl; then
            check "it needs nothing but what musl 1.2 has ($another)" needs_only_musl "$wheel"
        else
            skipped "the wheel's name for $another: no musl"
        fi
        ;;
    *-linux-*)
        if need_auditwheel; then
            check "it runs wherever its name says ($another)" fits_its_name "$wheel" "$(wheel_tag "$another")"
        else
            skipped "the wheel's name for $another: no auditwheel"
        fi
        ;;
    esac
done
wheel=$(wheel_of "$target")
check "a changed file in a wheel is noticed" notices_a_changed_file "$wheel"
check "a wheel that needs a newer glibc than its name says is noticed" notices_an_older_name "$wheel"
start_packaged_sandbox || exit 1
check "an empty environment without a network installs it" installs "$wheel"
check "python -m clopos_auth signs in there" signs_in
check "a user's program is checked against its types" is_typed_for_its_user
cp "$(user -c 'import clopos_auth, os; print(os.path.dirname(clopos_auth.__file__))')/libclopos_auth.so" "$work/"
check "pip removes it without a trace" uninstalls
check "pip installs the package from the sources" installs_from_the_sources
