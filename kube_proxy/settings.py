"""Settings of the kernel for this thread's network namespace."""

import os
from pathlib import Path


def ensure(setting: Path, wanted: bytes) -> None:
    """Write a file below /proc/sys, unless it says so already.  Raises OSError where it may not be written."""
    if setting.read_bytes().strip() == wanted:
        return
    descriptor = os.open(setting, os.O_WRONLY)
    try:
        os.write(descriptor, wanted)
    finally:
        os.close(descriptor)
