"""What is kept of each release, in a directory of its version; see docs/development.md, "Releases"."""

from pathlib import Path

KEPT = Path(__file__).with_name("kept")
