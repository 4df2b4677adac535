#!/usr/bin/env python3
"""Prints NAME-VERSION of each crate in the SBOM of NAME, and the other components to stderr: list_components.py FILE NAME"""

import json
import sys

bom = json.load(open(sys.argv[1], encoding="utf-8"))
assert bom["bomFormat"] == "CycloneDX" and bom["metadata"]["component"]["name"] == sys.argv[2]
for component in bom["components"]:
    assert component["licenses"][0]["expression"], component
    if "purl" in component:
        assert len(component["hashes"][0]["content"]) == 64, component
        print(component["name"] + "-" + component["version"])
    else:
        print("not a crate:", component["name"], file=sys.stderr)
