"""Where static pods come from: the files of a directory, one file, a URL."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

import aiohttp

from api.types import Pod
from kubelet.statics.manifests import FILE, URL, ManifestFault, static_pods
from kubelet.statics.watching import changes
from machinery.clocks import Clock

FETCH_TIMEOUT = 10.0

log = logging.getLogger("statics")


class Statics:
    """The static pods that this node is to run now.  `on_change` is called when others may have become these.

    A manifest that cannot be read keeps the pods that it stood for last: half a file is no reason to end a pod, its
    disappearance is.  `path` is a directory or a file; None or "" is no source.
    """

    def __init__(
        self, path: Path | None, url: str, node: str, clock: Clock, *, file_period: float = 20, url_period: float = 20
    ) -> None:  # fmt: skip
        self.on_change: Callable[[], None] = lambda: None
        self._path = path
        self._url = url
        self._node = node
        self._clock = clock
        self._file_period, self._url_period = file_period, url_period
        self._known: dict[str, tuple[bytes, list[Pod]]] = {}

    def pods(self) -> list[Pod]:
        """One for each namespace and name: of two manifests with the same, the first one counts."""
        found: dict[tuple[str, str], Pod] = {}
        for _, (_, pods) in sorted(self._known.items()):
            for pod in pods:
                found.setdefault((pod.metadata.namespace, pod.metadata.name), pod)
        return [*found.values()]

    async def run(self) -> None:
        """Follows its sources until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            if self._path is not None:
                tasks.create_task(self._follow_files(self._path))
            if self._url:
                tasks.create_task(self._follow_url())

    async def _follow_files(self, path: Path) -> None:
        directory = await asyncio.to_thread(lambda: path.parent if path.is_file() else path)
        async with contextlib.aclosing(changes(directory, self._file_period, self._clock)) as told:
            async for _ in told:
                if self.read():
                    self.on_change()

    def read(self) -> bool:
        """Look at the files; True if there is anything new."""
        if self._path is None:
            return False
        paths = [self._path] if self._path.is_file() else sorted(self._path.glob("[!.]*"))
        files = {str(p): p for p in paths if p.is_file()}
        gone = [origin for origin in self._known if origin != self._url and origin not in files]
        for origin in gone:
            del self._known[origin]
        taken = [self._take(FILE, origin, _content(file)) for origin, file in files.items()]
        return any(taken) or bool(gone)

    def _take(self, source: str, origin: str, manifest: bytes | None) -> bool:
        known = self._known.get(origin)
        if manifest is None or (known is not None and known[0] == manifest):
            return False
        try:
            pods = static_pods(manifest, source, origin, self._node, self._clock.now())
        except ManifestFault as e:
            log.error("can't process manifest %s: %s", origin, e)
            self._known[origin] = manifest, known[1] if known is not None else []
            return False
        self._known[origin] = manifest, pods
        return True

    async def _follow_url(self) -> None:
        timeout = aiohttp.ClientTimeout(FETCH_TIMEOUT)
        async with aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as session:
            while True:
                try:
                    async with session.get(self._url) as answer:
                        manifest = await answer.read()
                except (aiohttp.ClientError, TimeoutError) as e:
                    log.warning("can't get manifests from %s: %s", self._url, e)
                else:
                    if self._take(URL, self._url, manifest):
                        self.on_change()
                await self._clock.sleep(self._url_period)


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError as e:
        log.error("can't read manifest file %s: %s", file, e)
        return None
