#!/usr/bin/env python3
"""Converts the results of a JUnit report: junit.py NAME REPORT

Appends a line for each test to the file CLOPOS_TEST_RESULTS. A passed test that could not run has printed a
line "SKIPPED: WHY". Prints what failed, what was skipped, and the rows of the tables that tests print.
"""

import os
import sys
import xml.etree.ElementTree as xml

TABLE_CELLS = 9


def outcome(case, name):
    output = case.findtext("system-out") or ""
    if case.find("failure") is not None or case.find("error") is not None:
        return f"not ok - {name}"
    for line in output.splitlines():
        if line.startswith("SKIPPED: "):
            return f"skipped - {name}: {line.removeprefix('SKIPPED: ')}"
        if line.startswith("| ") and line.count(" | ") == TABLE_CELLS - 2:
            print(line)
    return f"ok - {name}"


def main():
    label, report = sys.argv[1:]
    with open(os.environ.get("CLOPOS_TEST_RESULTS", os.devnull), "a", encoding="utf-8") as results:
        for suite in xml.parse(report).iter("testsuite"):
            program = suite.get("name").removeprefix("clopos_auth::")
            for case in suite.iter("testcase"):
                line = outcome(case, f"{label}: {program} {case.get('name')}")
                print(line, file=results)
                if not line.startswith("ok "):
                    print(line)


main()
