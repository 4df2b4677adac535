#!/usr/bin/env python3
"""Checks that a .NET package contains its licences, the files for .NET Framework, and the native libraries of these
platforms where NuGet looks for them, and depends on no other package: check_package.py FILE.nupkg RID..."""

import sys
import zipfile

WANTED = [
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "build/Clopos.Auth.targets",
    "buildTransitive/Clopos.Auth.targets",
    "lib/netstandard2.0/Clopos.Auth.dll",
    "lib/netstandard2.0/Clopos.Auth.xml",
]

package = zipfile.ZipFile(sys.argv[1])
names = package.namelist()
print(*names, sep="\n")
for rid in sys.argv[2:]:
    WANTED.append(f"runtimes/{rid}/native/" + ("clopos_auth.dll" if rid.startswith("win") else "libclopos_auth.so"))
for name in WANTED:
    if name not in names:
        sys.exit(name + " is missing")
if b"<dependency " in package.read("Clopos.Auth.nuspec"):
    sys.exit("it depends on other packages")
