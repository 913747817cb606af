"""The directory of pinned Python dependencies that goes into the component image.

It is made on this side of the build, by pip as it is set up here (mirrors, certificates, caches), so that the build
itself needs no network. Only wheels are taken, for the Python of the image, whatever Python runs this.
"""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from api import schema
from wherry.troubles import Trouble

# Tests, headers, and the tools of packages of which only a file is used.
DROPPED = (
    "bin",
    "jsonschema",
    "jsonschema_specifications",
    "referencing",
    "rpds",
    "importlib_resources",
    "pycparser",
    "cffi",
    "numpy/f2py",
    "numpy/**/tests",
    "numpy/_core/include",
    "numpy/_core/lib",
    "uvloop/loop.c",
    "uvloop/**/*.pyx",
    "aiohttp/**/*.pyx",
    "**/*.c",
    "**/*.pyi",
    "**/__pycache__",
)
SCHEMA = "kubernetes_validate/kubernetes-json-schema/definitions.json"


def dependencies(project: Path) -> list[str]:
    """What pyproject.toml asks for at run time."""
    told = tomllib.loads((project / "pyproject.toml").read_text())
    return list(told["project"]["dependencies"])


def make(project: Path, place: Path, python_version: str) -> None:
    """Fills `place` (which it empties first). Raises Trouble."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(place), "--no-compile"]
    wheels = ["--only-binary", ":all:", "--implementation", "cp", "--python-version", python_version]
    ran = subprocess.run(
        [*pip, *wheels, *dependencies(project)], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if ran.returncode:
        advice = "See whether `pip download grpcio` works on this machine; the image needs the same registry."
        raise Trouble("images", "the Python dependencies could not be fetched", ran.stdout + ran.stderr, advice)
    prune(place)


def prune(place: Path) -> None:
    """Drops what no component imports; of the schema's package one file stays."""
    package = place / "kubernetes_validate"
    definitions = (package / schema.path().relative_to(schema.path().parents[2])).read_bytes()
    shutil.rmtree(package)
    kept = place / SCHEMA
    kept.parent.mkdir(parents=True)
    kept.write_bytes(definitions)
    for pattern in DROPPED:
        for path in place.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
