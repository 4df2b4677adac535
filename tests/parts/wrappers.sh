#!/usr/bin/env bash
# the list of behaviours, in every language
# ahead: need_dotnet
# ahead: need_mono
# ahead: need_go && for race in "" -race; do CGO_CFLAGS=-I$root/include go vet -C tests/wrappers/go $race .; done
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

# The package requests: from Debian for its own Python, otherwise from PyPI.
need_requests() {
    python3 -c 'import requests' 2>/dev/null && return
    apt_install python3-requests && python3 -c 'import requests' 2>/dev/null && return
    fetch requests from_pypi requests==2.32.3 urllib3==2.2.3 idna==3.10 certifi==2024.8.30 charset-normalizer==3.4.0 &&
        export PYTHONPATH=$toolchains/requests
}

need_mypy() {
    fetch mypy from_pypi mypy==1.14.1 mypy-extensions==1.0.0 typing-extensions==4.12.2 tomli==2.2.1
}

is_typed() {
    (cd examples/python && PYTHONPATH=$toolchains/mypy python3 -m mypy --strict --cache-dir "$work/mypy" clopos_auth)
}

need_each need_c_tools "need python3 python3" need_requests ||
    skip_all "the wrappers: a compiler, libcurl, Python or its package requests is missing"
if need_mypy; then check "the Python package is typed" is_typed; else skipped "the types of the Python package: no mypy"; fi
# The whole list; and a few rows for the same code, compiled or linked in another way.
languages=(c cpp c-asan cpp-asan python) other_builds=()
if need clang clang; then other_builds+=(cpp-clang); else skipped "C++ with clang"; fi
if need_go; then
    languages+=(go-race)
    other_builds+=(go go-static)
    if need pkg-config pkg-config; then other_builds+=(go-pkgconfig); else skipped "Go with pkg-config"; fi
else
    skipped "Go"
fi
if need_dotnet; then
    languages+=(dotnet)
    if need_mono; then languages+=(dotnet-mono); else skipped "Mono"; fi
else
    skipped ".NET"
fi
tool_tests "wrappers" tests/wrappers/run.sh "${languages[@]}"
[ ${#other_builds[@]} = 0 ] ||
    ONLY="signs_in log_lines ends_without_close no_leak" tool_tests "other builds of the wrappers" \
        tests/wrappers/run.sh "${other_builds[@]}"
