#!/usr/bin/env python3
"""Checks the coverage of the tests: coverage.py LCOV EXPLANATIONS

Prints how much of each file in src/ the tests ran, without test modules. A line that no test ran must be in
EXPLANATIONS with a reason, otherwise it is "not ok". It is identified by its file, its function and its text, so
that it may move. An explained line that does not exist any more is "not ok", too. An explained line that was run
is only mentioned: there was a race, or a counter is wrong because two threads changed it at the same time.

EXPLANATIONS has blocks:

    # Why no test runs this.
    src/file.rs function
        the line's text
        the next one's
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FUNCTION = re.compile(r'\s*(pub(\(\w+\))? )?(const )?(unsafe )?(extern "C" )?fn (?P<name>\w+)')
TEST_MODULE = re.compile(r"#\[cfg\((all\()?test\b.*\]\nmod \w+ {\n")
# src/connect/tests.rs and the folder of this name are compiled for tests only.
TESTS = "src/connect/tests"


def indent(line):
    # A line that closes a block or a list of arguments belongs to the line that opened it.
    depth = len(line) - len(line.lstrip())
    return depth + line.lstrip().startswith(("}", ")"))


def function(lines, at):
    """Returns the name of the function that the line is in, by the indentation of rustfmt."""
    depth = indent(lines[at])
    for line in lines[at::-1]:
        found = FUNCTION.match(line)
        if found and (line is lines[at] or indent(line) < depth):
            return found["name"]
    return "-"


def counts(lcov):
    """Returns how often each executable line of each file was run."""
    files = {}
    for entry in pathlib.Path(lcov).read_text().splitlines():
        if entry.startswith("SF:"):
            path = pathlib.Path(entry[3:])
            # Debian's Rust names files of its standard library, too.
            name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""
            text = path.read_text() if name else ""
            test_module = TEST_MODULE.search(text)
            end = text.count("\n", 0, test_module.start()) if test_module else len(text)
            is_shipped = name.startswith("src/") and not name.startswith(TESTS)
            lines = files.setdefault(name, {}) if is_shipped else {}
        elif entry.startswith("DA:"):
            line, count = map(int, entry[3:].split(",")[:2])
            if line <= end:
                lines[line] = count
    return files


def explanations(path):
    """{(file, function, text): reason}"""
    explained, reason, place, is_new = {}, "", None, False
    for number, line in enumerate(pathlib.Path(path).read_text().splitlines(), 1):
        if line.startswith("#"):
            reason = f"{reason} {line[1:].strip()}" if is_new else line[1:].strip()
            place, is_new = None, True
        elif line.startswith(" ") and place and reason:
            explained[(*place, line.strip())] = reason
        elif line.strip():
            is_new = False
            place = tuple(line.split())
            if len(place) != 2:
                sys.exit(f"{path}:{number}: a file and a function are wanted")
    return explained


def main():
    files, explained = counts(sys.argv[1]), explanations(sys.argv[2])
    complaints, ran, not_run = [], set(), set()
    print(f"| {'file':24} | lines | not run | run      |")
    print(f"|{'-' * 26}|------:|--------:|---------:|")
    total = missed = 0
    for name, lines in sorted(files.items()):
        source = (ROOT / name).read_text().splitlines()
        zero = [line for line, count in lines.items() if count == 0]
        total, missed = total + len(lines), missed + len(zero)
        percent = 100 - 100 * len(zero) / len(lines)
        print(f"| {name:24} | {len(lines):5} | {len(zero):7} | {percent:6.2f} % |")
        for line, count in lines.items():
            key = (name, function(source, line - 1), source[line - 1].strip())
            (ran if count else not_run).add(key)
            if not count and key not in explained:
                complaints.append(f"{name}:{line}: no test runs this in {key[1]}: {key[2]}")
    print(f"| {'in all':24} | {total:5} | {missed:7} | {100 - 100 * missed / total:6.2f} % |")
    for name, inside, text in explained:
        source = (ROOT / name).read_text().splitlines() if (ROOT / name).exists() else []
        places = [at for at, line in enumerate(source) if line.strip() == text]
        if not any(function(source, at) == inside for at in places):
            complaints.append(f"{name}: explained, but not there: {text} in {inside}")
        elif (name, inside, text) in ran - not_run:
            print(f"explained, but it ran: {name}, {inside}: {text}")
    for complaint in complaints:
        print(f"  {complaint}")
    if complaints:
        print("not ok - every line is run by a test or explained")
    else:
        print(f"ok - every line is run by a test or explained, {missed} are")
    sys.exit(bool(complaints))


main()
