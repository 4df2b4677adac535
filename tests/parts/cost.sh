#!/usr/bin/env bash
# instructions, system calls, allocations and sizes, compared with libcurl and rustls
# run: all
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

tool_tests "cost" tests/bench/run.sh --counts --out "$work/cost.json"
