#!/usr/bin/env python3
"""peak.py WHAT COMMAND...: runs COMMAND and prints its peak memory as the system counts it; under an emulator
that includes the emulator's."""

import resource
import subprocess
import sys

status = subprocess.run(sys.argv[2:], check=False).returncode
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(f"peak memory of {sys.argv[1]} under {sys.argv[2]}: {peak} KiB")
sys.exit(status)
