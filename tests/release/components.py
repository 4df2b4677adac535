#!/usr/bin/env python3
"""Collects the licence texts of everything that is linked into the library, or into the sandbox, for a platform, and lists it.

    tests/release/components.py TARGET FOLDER PACKAGE

The crates are those that `cargo tree` lists for the package and the target, without those that only run while
it is built. Writes licenses/NAME-VERSION/... and sbom.cdx.json (CycloneDX 1.5) to FOLDER. Fails if a crate has no
licence text.

SOURCE_DATE_EPOCH is the SBOM's time. The standard library's text is Debian's; zig is the one in the PATH.
"""

import datetime
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

LICENCE_FILE = re.compile(r"(un)?licen[cs]e([-._].*)?|copying([-._].*)?|notice([-._].*)?|copyright([-._].*)?", re.I)


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def linked_crates(target, package):
    """Returns the (name, version) of each crate with those of its dependencies; the package is the first."""
    tree = output("cargo", "tree", "--locked", "--package", package, "--target", target, "--edges", "normal,no-proc-macro",
                  "--prefix", "depth", "--no-dedupe", "--format", " {p}")
    edges, path = {}, []
    for line in filter(None, tree.splitlines()):
        depth, name, version = re.match(r"(\d+) (\S+) v(\S+)", line).groups()
        crate = (name, version)
        path[int(depth):] = [crate]
        edges.setdefault(crate, set())
        if len(path) > 1:
            edges[path[-2]].add(crate)
    return edges


def licence_texts(folder):
    return sorted(
        file for file in folder.rglob("*")
        if file.is_file() and file.suffix != ".rs" and LICENCE_FILE.fullmatch(file.name) and file.read_text().strip()
    )


def debian_package(name):
    version = output("dpkg-query", "--show", "--showformat", "${Version}", name)
    return version, [Path("/usr/share/doc", name, "copyright")]


def runtimes(target):
    """Returns (name, version, licence, texts) of the compilers' runtimes."""
    # rustc or rustc-web.
    rust, texts = debian_package(output("dpkg-query", "--search", "/usr/bin/rustc").partition(":")[0])
    yield "rust-std", rust, "MIT OR Apache-2.0", texts
    if "windows" in target:
        version, texts = debian_package(f"mingw-w64-{target.split('-')[0].replace('_', '-')}-dev")
        yield "mingw-w64", version, "ZPL-2.1", texts
        version, texts = debian_package("gcc-mingw-w64-base")
        yield "libgcc", version, "GPL-3.0-or-later WITH GCC-exception-3.1", texts
    elif "android" not in target:  # there the NDK's linker adds its own
        zig = Path(shutil.which("zig")).resolve().parent
        version = output("zig", "version").strip()
        yield "zig-libunwind", version, "Apache-2.0 WITH LLVM-exception", [zig / "lib/libunwind/LICENSE.TXT"]
        yield "zig-compiler-rt", version, "MIT", [zig / "LICENSE"]
        if "musl" in target:  # in static programs
            yield "zig-musl", version, "MIT", [zig / "lib/libc/musl/COPYRIGHT"]


def main(target, folder, package):
    metadata = json.loads(output("cargo", "metadata", "--locked", "--format-version", "1",
                                 "--filter-platform", target))
    packages = {(package["name"], package["version"]): package for package in metadata["packages"]}
    lock = tomllib.loads((Path(metadata["workspace_root"]) / "Cargo.lock").read_text())
    checksums = {(package["name"], package["version"]): package.get("checksum") for package in lock["package"]}
    edges = linked_crates(target, package)
    root, *crates = edges

    def purl(crate):
        return "pkg:cargo/{}@{}".format(*crate)

    is_program = any("bin" in part["kind"] for part in packages[root]["targets"])
    missing, components = [], []

    def add(name, version, texts, base):
        for text in texts:
            copy = folder / "licenses" / f"{name}-{version}" / text.relative_to(base)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(text, copy)
        if not texts:
            missing.append(f"{name} {version}")

    for crate in sorted(crates):
        package = packages[crate]
        source = Path(package["manifest_path"]).parent
        add(*crate, licence_texts(source), source)
        licence = package["license"]
        if licence is None:
            missing.append("{} {}: its licence's name".format(*crate))
        component = {
            "type": "library",
            "bom-ref": purl(crate),
            "name": crate[0],
            "version": crate[1],
            "licenses": [{"expression": (licence or "").replace("/", " OR ")}],
            "purl": purl(crate),
        }
        if checksums[crate]:
            component["hashes"] = [{"alg": "SHA-256", "content": checksums[crate]}]
        components.append(component)
    for name, version, licence, texts in runtimes(target):
        # Debian's versions contain characters that file names should not.
        add(name, version.replace(":", "-").replace("~", "-"), texts, texts[0].parent)
        components.append({
            "type": "library",
            "bom-ref": f"{name}@{version}",
            "name": name,
            "version": version,
            "licenses": [{"expression": licence}],
        })
    if missing:
        sys.exit("no licence text: " + ", ".join(missing))

    time = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.timezone.utc)
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "application" if is_program else "library",
                "bom-ref": purl(root),
                "name": root[0] if is_program else "lib" + root[0],
                "version": root[1],
                "licenses": [{"expression": packages[root]["license"]}],
                "properties": [{"name": "target", "value": target}],
            },
        },
        "components": components,
        "dependencies": [
            {"ref": purl(crate), "dependsOn": sorted(map(purl, edges[crate]))} for crate in [root, *sorted(crates)]
        ],
    }
    (folder / "sbom.cdx.json").write_text(json.dumps(bom, indent=2) + "\n")


if len(sys.argv) != 4:
    sys.exit(__doc__)
main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
