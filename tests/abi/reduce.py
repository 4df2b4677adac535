#!/usr/bin/env python3
"""Reduces the output of abidw to the interface: the public functions and the types that they use.

    tests/abi/reduce.py FROM TO

The debug information of a Rust library describes everything inside it, and not in which file a type is
declared, so abidw itself cannot find the public part.
"""

import sys
import xml.etree.ElementTree as ElementTree

FUNCTION = "clopos_auth_"


def main(source, destination):
    corpus = ElementTree.parse(source).getroot()
    parents = {child: parent for parent in corpus.iter() for child in parent}
    types = {element.get("id"): element for element in corpus.iter() if element.get("id")}
    kept, waiting = set(), [
        element for element in corpus.iter("function-decl") if element.get("elf-symbol-id", "").startswith(FUNCTION)
    ]
    if not waiting:
        sys.exit(f"no function {FUNCTION}... in {source}")
    while waiting:
        top = waiting.pop()
        for element in top.iter():
            if element in kept:
                continue
            kept.add(element)
            for reference in ("type-id", "method-class-id", "naming-typedef-id"):
                if element.get(reference) in types:
                    waiting.append(types[element.get(reference)])
        while top in parents:
            top = parents[top]
            kept.add(top)
    kept.update(*(symbols.iter() for symbols in corpus.iter("elf-function-symbols")))

    def prune(element):
        for name in ("path", "comp-dir-path", "filepath", "line", "column"):
            element.attrib.pop(name, None)
        children = []
        for child in filter(kept.__contains__, element):
            prune(child)
            # A C program does not depend on the Rust module of a type.
            children += list(child) if child.tag == "namespace-decl" else [child]
        element[:] = children

    prune(corpus)
    # One unit: a program does not depend on the compiler's units.
    unit, *others = corpus.findall("abi-instr")
    for other in others:
        unit.extend(other)
        corpus.remove(other)
    unit.set("path", "interface")
    ElementTree.indent(corpus, " ")
    ElementTree.ElementTree(corpus).write(destination, encoding="unicode")


if len(sys.argv) != 3:
    sys.exit(__doc__)
main(*sys.argv[1:])
