#!/usr/bin/env python3
"""Converts the results of `go test -json`: go_results.py NAME FILE

Appends a line for each test to the file CLOPOS_TEST_RESULTS. Prints what failed or was skipped, and why.
"""

import collections
import json
import os
import sys

WORDS = {"pass": "ok", "fail": "not ok", "skip": "skipped"}


def main():
    label, path = sys.argv[1:]
    said = collections.defaultdict(str)
    with open(path, encoding="utf-8") as events, open(
        os.environ.get("CLOPOS_TEST_RESULTS", os.devnull), "a", encoding="utf-8"
    ) as results:
        for event in map(json.loads, events):
            test = event.get("Test")
            place = (event.get("Package"), test)
            if event["Action"] in ("output", "build-output"):
                said[place] += event["Output"]
            elif event["Action"] in WORDS and (test or event["Action"] == "fail"):
                line = f"{WORDS[event['Action']]} - {label}: {test or event['Package']}"
                print(line, file=results)
                if event["Action"] != "pass":
                    print(line, said[place], sep="\n")


main()
