"""Which group's versions other servers serve, as the watch cache has it."""

from collections.abc import Sequence

from api import kinds
from api.types import APIService
from apiserver.admission.webhooks.hooks import Source

API_SERVICES = kinds.of(APIService)
_DISTANCE = 2
"""Segments of a path before its version: /apis/GROUP/VERSION."""


class Routes:
    def __init__(self, source: Source) -> None:
        self._source = source
        self.version = -1
        """Of the watch cache, when it was last looked at."""
        self._remote: dict[tuple[str, str], APIService] = {}

    def remote(self) -> dict[tuple[str, str], APIService]:
        """(group, version) → the APIService that names another server."""
        version = self._source.version(API_SERVICES)
        if version != self.version:
            found: Sequence[APIService] = list(self._source.list_cached(API_SERVICES))
            self._remote = {(s.spec.group, s.spec.version): s for s in found if s.spec.service is not None}
            self.version = version
        return self._remote

    def find(self, path: str) -> APIService | None:
        """The APIService of a path such as /apis/GROUP/VERSION/…; None if it is served here, or nowhere."""
        remote = self.remote()
        if not remote or not path.startswith("/apis/"):
            return None
        parts = path.split("/", 4)
        return remote.get((parts[_DISTANCE], parts[_DISTANCE + 1])) if len(parts) > _DISTANCE + 1 else None

    def groups(self) -> dict[str, list[APIService]]:
        """The groups with a version elsewhere, the most important first; of each the preferred version first."""
        found: dict[str, list[APIService]] = {}
        ordered = sorted(self.remote().values(), key=lambda s: (-s.spec.groupPriorityMinimum, s.spec.group))
        for service in ordered:
            found.setdefault(service.spec.group, []).append(service)
        for services in found.values():
            services.sort(key=lambda s: (-s.spec.versionPriority, s.spec.version))
        return found
