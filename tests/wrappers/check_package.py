#!/usr/bin/env python3
"""Checks that a .NET package has its licences, and a native library for two systems where NuGet looks for it, and
depends on no other package: check_package.py FILE.nupkg"""

import sys
import zipfile

WANTED = (
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "lib/netstandard2.0/Clopos.Auth.dll",
    "lib/netstandard2.0/Clopos.Auth.xml",
    "runtimes/linux-x64/native/libclopos_auth.so",
    "runtimes/win-x64/native/clopos_auth.dll",
)

package = zipfile.ZipFile(sys.argv[1])
names = package.namelist()
print(*names, sep="\n")
for name in WANTED:
    if name not in names:
        sys.exit(name + " is missing")
if b"<dependency " in package.read("Clopos.Auth.nuspec"):
    sys.exit("it depends on other packages")
