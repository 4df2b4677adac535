#!/usr/bin/env python3
"""Writes a .NET package again so that the same files give the same bytes: repack.py FROM TO

Times become SOURCE_DATE_EPOCH, the files are sorted by name, and the properties get a fixed name and do not name the
system. Older SDKs do not name the README in the description: it is added."""

import os
import re
import sys
import time
import zipfile

PROPERTIES = "package/services/metadata/core-properties/properties.psmdcp"


def rewrite(name, content):
    """Returns the file's new name and content."""
    if name.endswith(".psmdcp"):
        return PROPERTIES, re.sub(rb"<lastModifiedBy>.*?</lastModifiedBy>", b"", content)
    if name == "_rels/.rels":
        content = re.sub(rb"/package/services/metadata/[^\"]*", b"/" + PROPERTIES.encode(), content)
        numbers = iter(range(1, 100))
        return name, re.sub(rb' Id="[^"]*"', lambda _: b' Id="R%d"' % next(numbers), content)
    if name.endswith(".nuspec") and b"<readme>" not in content:
        content = content.replace(b"<description>", b"<readme>README.md</readme>\n    <description>", 1)
    return name, content


def main(source, target):
    with zipfile.ZipFile(source) as package:
        files = sorted(rewrite(name, package.read(name)) for name in package.namelist())
    date = time.gmtime(int(os.environ["SOURCE_DATE_EPOCH"]))[:6]
    with zipfile.ZipFile(target + ".new", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as package:
        for name, content in files:
            entry = zipfile.ZipInfo(name, date)
            entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, 3, 0o100644 << 16
            package.writestr(entry, content)
    os.replace(target + ".new", target)


if len(sys.argv) != 3:
    sys.exit(__doc__)
main(*sys.argv[1:])
