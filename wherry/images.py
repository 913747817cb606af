"""The lab's images: built, never assumed.

Each carries the hash of all that it was made from as a label, so that a second build costs a look-up, and a change of
the source makes only the last image again:

    base ─┬─ platform ─ runtime ┬ component
          │                     └ ingress (only if asked for)
          ├─ pause
          └─ busybox ─ echo
"""

import io
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, ImageNotFound

from wherry import contexts, packages, sites
from wherry.progress import Progress, Step
from wherry.troubles import Trouble

BASE = "debian:bookworm-slim"
# Checkouts that share an engine each build under a tag of their own.
TAG = os.environ.get("WHERRY_TAG") or "dev"
PULL_SECONDS = 60
LABEL = "io.wherry.made-of"
FOREIGN = "made elsewhere"
BUSYBOX = ("busybox:1.35", "busybox:1.29")
PACKAGES = (
    *("api", "machinery", "proto", "wherry"),
    *("apiserver", "cluster_dns", "controller_manager", "ingress_controller", "kube_proxy", "kubelet", "scheduler"),
)
Entries = list[tuple[str, Path]]


@dataclass(frozen=True)
class Image:
    """`entries` is called only if the image must be built, `made_of` says whether it must."""

    tags: tuple[str, ...]
    made_of: str
    entries: Callable[[], Entries]
    arguments: dict[str, str] = field(default_factory=dict)


class Builder:
    def __init__(self, project: Path, engine: docker.DockerClient, progress: Progress) -> None:
        self._project = project
        self._engine = engine
        self._progress = progress

    def all(self, *also: str, balancer: bool = False) -> None:
        """Every image that the lab and its first example use, and what is asked for beside. Raises Trouble."""
        base = self._base()
        if balancer:
            self._simple("balancer", ("wherry/balancer:1",), base)
        # The two branches share nothing but the base.
        with ThreadPoolExecutor(2) as pool:
            branches = [pool.submit(self._sources, base, also), pool.submit(self._pods, base)]
        for branch in branches:
            branch.result()

    def _sources(self, base: str, also: Sequence[str]) -> None:
        runtime = self._runtime(self._platform(base))
        source = contexts.files(self._project, *(name for name in PACKAGES if (self._project / name).is_dir()))
        for name in ("component", *also):
            entries = [*self._recipe(name), *source]
            made_of = contexts.digest(contexts.archive(entries), self._id(runtime))
            self._make(Image((f"wherry/{name}:{TAG}",), made_of, lambda e=entries: e, {"BASE": runtime}))  # type: ignore[misc]

    def _platform(self, base: str) -> str:
        return self._simple("platform", (f"wherry/platform:{TAG}",), base)

    def _runtime(self, platform: str) -> str:
        recipe = self._recipe("runtime")
        wanted = "\n".join(sites.dependencies(self._project)) + "\n".join(sites.DROPPED)
        made_of = contexts.digest(contexts.archive(recipe), wanted, self._id(platform))
        with tempfile.TemporaryDirectory(prefix="wherry-") as scratch:
            place = Path(scratch)

            def entries() -> Entries:
                sites.make(self._project, place / "site", self._python_version(platform))
                return [*recipe, *contexts.files(place)]

            return self._make(Image((f"wherry/runtime:{TAG}",), made_of, entries, {"BASE": platform}))

    def _python_version(self, image: str) -> str:
        told = "import sys; print('%d.%d' % sys.version_info[:2])"
        answer: bytes = self._engine.containers.run(image, ["python3", "-c", told], remove=True, network_disabled=True)
        return answer.decode().strip()

    def _pods(self, base: str) -> None:
        self._simple("pause", ("wherry/pause:1",), base)
        # Somebody's own busybox of these tags is as good as ours.
        if any(self._made_of(tag) != FOREIGN for tag in BUSYBOX):
            self._simple("busybox", tuple(tag for tag in BUSYBOX if self._made_of(tag) != FOREIGN), base)
        self._simple("echo", ("hewon16/image1:1", "hewon16/image1:2"), base, self._id("busybox:1.35"))

    def _simple(self, name: str, tags: tuple[str, ...], base: str, *also_of: str) -> str:
        recipe = self._recipe(name)
        made_of = contexts.digest(contexts.archive(recipe), self._id(base), *also_of)
        return self._make(Image(tags, made_of, lambda: recipe, {"BASE": base}))

    def _recipe(self, name: str) -> Entries:
        return contexts.files(self._project / "images" / name)

    def _id(self, tag: str) -> str:
        return str(self._engine.images.get(tag).id)

    def _make(self, image: Image) -> str:
        if all(self._made_of(tag) == image.made_of for tag in image.tags):
            return image.tags[0]
        with self._progress.step(f"image {image.tags[0]}"):
            self._build(image)
        return image.tags[0]

    def _made_of(self, tag: str) -> str:
        """The hash on an image, FOREIGN if it has none, and "" if there is no such image."""
        try:
            return str(self._engine.images.get(tag).labels.get(LABEL, FOREIGN))
        except ImageNotFound:
            return ""

    def _build(self, image: Image) -> None:
        said: list[str] = []
        stream = self._engine.api.build(
            fileobj=io.BytesIO(contexts.archive(image.entries())),
            custom_context=True,
            tag=image.tags[0],
            buildargs=image.arguments,
            labels={LABEL: image.made_of},
            decode=True,
            rm=True,
            forcerm=True,
        )
        for line in stream:
            said.append(str(line.get("stream", "")).rstrip("\n"))
            if fault := line.get("error"):
                advice = "Builds need the distribution's packages: see whether `apt-get update` works on this machine."
                raise Trouble(f"image {image.tags[0]}", str(fault), "\n".join(said), advice)
        built = self._engine.images.get(image.tags[0])
        for tag in image.tags[1:]:
            repository, _, version = tag.partition(":")
            built.tag(repository, version)

    def _base(self) -> str:
        """The base image's tag: there already, else pulled, else made of the distribution's own packages."""
        own = own_base()
        for tag in (BASE, own):
            if self._there(tag):
                return tag
        with self._progress.step("base image") as step:
            step.waits_for(f"docker pull {BASE}")
            if self._pulled(BASE):
                return BASE
            self._bootstrap(own, step)
        return own

    def _there(self, tag: str) -> bool:
        try:
            self._engine.images.get(tag)
        except ImageNotFound:
            return False
        return True

    def _pulled(self, tag: str) -> bool:
        repository, _, version = tag.partition(":")
        try:
            docker.from_env(timeout=PULL_SECONDS).images.pull(repository, version)
        except (APIError, OSError):
            # No registry, no such name, no way there: the packages of the distribution are the other way.
            return False
        return True

    def _bootstrap(self, tag: str, step: Step) -> None:
        step.waits_for("no registry answers; apt-get install mmdebstrap")
        packages.install(["mmdebstrap"])
        step.waits_for(f"mmdebstrap of {tag}")
        with tempfile.TemporaryDirectory(prefix="wherry-") as scratch:
            tar = Path(scratch) / "base.tar"
            ran = subprocess.run(
                ["mmdebstrap", "--variant=minbase", "--quiet", *LEAN, release()["VERSION_CODENAME"], str(tar)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            if ran.returncode:
                advice = f"Give the engine an image named {tag} in any way you like, and try again."
                raise Trouble("base image", "mmdebstrap failed", ran.stdout + ran.stderr, advice)
            step.waits_for("docker import")
            repository, _, version = tag.partition(":")
            self._engine.api.import_image_from_file(str(tar), repository=repository, tag=version)


LEAN: Sequence[str] = tuple(
    f"--dpkgopt=path-exclude=/usr/share/{what}/*" for what in ("doc", "man", "info", "locale", "lintian")
)


def release(path: Path = Path("/etc/os-release")) -> dict[str, str]:
    lines = (line.partition("=") for line in path.read_text().splitlines() if "=" in line)
    return {name: value.strip('"') for name, _, value in lines}


def own_base() -> str:
    """The tag of the base that this machine's distribution can make; the very same where it is Debian bookworm."""
    told: dict[str, Any] = release()
    return f"{told.get('ID', 'linux')}:{told.get('VERSION_CODENAME', 'unknown')}-slim"
