#!/usr/bin/env bash
# the Rust tests: policies, client, network, sandbox, header, documents
# run: default
# ahead: need_network_tools
# shellcheck source=tests/common.sh
. "$(dirname "$0")/../common.sh"

# With "all", part coverage runs the same tests.
#
# Without these, the tests that need them say that they are skipped.
need_each need_network_tools "need kill procps"
# Those two are parts of their own. Most of the tests wait for a server.
NEXTEST_TEST_THREADS=4 rust_tests rust --workspace -E 'not binary(c) and not binary(simulation)'
