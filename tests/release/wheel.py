#!/usr/bin/env python3
"""Makes a Python wheel from the Python package and an unpacked archive of a release.

    tests/release/wheel.py PLATFORM_TAG ARCHIVE_FOLDER OUTPUT_FOLDER

Prints the wheel's name. The same files give the same bytes; the time in it is SOURCE_DATE_EPOCH.
"""

import base64
import hashlib
import os
import re
import sys
import time
import tomllib
import zipfile
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "examples" / "python"
LIBRARIES = ["lib/libclopos_auth.so", "bin/clopos_auth.dll"]


def files(archive):
    """Yields the name in the wheel and the content of each file, without the metadata."""
    for path in sorted((PACKAGE / "clopos_auth").glob("*")):
        if path.suffix in (".py", ".typed"):
            yield f"clopos_auth/{path.name}", path.read_bytes()
    libraries = [archive / name for name in LIBRARIES if (archive / name).exists()]
    if len(libraries) != 1:
        sys.exit(f"{archive} must contain one library, not {libraries}")
    yield f"clopos_auth/{libraries[0].name}", libraries[0].read_bytes()


def licences(archive):
    """Returns the licence texts of the library and of everything that is linked into it."""
    linked = sorted(path for path in (archive / "licenses").rglob("*") if path.is_file())
    texts = [archive / "LICENSE-MIT", archive / "LICENSE-APACHE", *linked]
    return {str(path.relative_to(archive)): path.read_bytes() for path in texts}


def metadata(project, version, licence_names):
    head = [
        "Metadata-Version: 2.4",
        f"Name: {project['name']}",
        f"Version: {version}",
        f"Summary: {project['description']}",
        f"License-Expression: {project['license']['text']}",
        *(f"License-File: {name}" for name in licence_names),
        *(f"Classifier: {name}" for name in project["classifiers"]),
        f"Requires-Python: {project['requires-python']}",
        "Description-Content-Type: text/markdown",
    ]
    return "\n".join(head) + "\n\n" + (PACKAGE / project["readme"]).read_text("utf-8")


def main(tag, archive, output):
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text("utf-8"))["project"]
    source = (PACKAGE / "clopos_auth" / "__init__.py").read_text("utf-8")
    version = re.search(r'^__version__ = "(.*)"$', source, re.M)[1]
    name = f"{project['name'].replace('-', '_')}-{version}"
    info = f"{name}.dist-info"
    texts = licences(archive)
    entries = dict(files(archive))
    for text, content in texts.items():
        entries[f"{info}/licenses/{text}"] = content
    entries[f"{info}/sboms/libclopos_auth.cdx.json"] = (archive / "sbom.cdx.json").read_bytes()
    entries[f"{info}/METADATA"] = metadata(project, version, texts).encode()
    tags = [f"Tag: py3-none-{part}" for part in tag.split(".")]
    wheel = ["Wheel-Version: 1.0", f"Generator: {Path(__file__).name}", "Root-Is-Purelib: false", *tags]
    entries[f"{info}/WHEEL"] = ("\n".join(wheel) + "\n").encode()
    record = ""
    for path, content in entries.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(content)}\n"
    entries[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()

    file = f"{name}-py3-none-{tag}.whl"
    moment = time.gmtime(int(os.environ["SOURCE_DATE_EPOCH"]))[:6]
    with zipfile.ZipFile(output / file, "w") as packed:
        for path, content in entries.items():
            entry = zipfile.ZipInfo(path, moment)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            packed.writestr(entry, content, zipfile.ZIP_DEFLATED, 9)
    print(file)


if len(sys.argv) != 4:
    sys.exit(__doc__)
main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
