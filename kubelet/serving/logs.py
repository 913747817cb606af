"""What a container wrote, for both of the kubelet's ports.
https://kubernetes.io/docs/concepts/cluster-administration/logging/
"""

from collections.abc import AsyncIterator

from api import errors, times
from kubelet.runtime.interfaces import LogOptions, Runtime
from kubelet.serving.finding import Finder
from machinery.clocks import Clock
from proto import node_pb2 as pb


class Logs:
    def __init__(self, runtime: Runtime, finder: Finder, clock: Clock) -> None:
        self._runtime = runtime
        self._finder = finder
        self._clock = clock

    async def read(self, wanted: pb.LogsRequest) -> AsyncIterator[bytes]:
        """Until the log's end, or with `follow` the container's.  Raises NotFound, BadRequest, EngineError."""
        record = self._finder.container(wanted.container, previous=wanted.previous)
        left = wanted.limit_bytes if wanted.HasField("limit_bytes") else None
        async for _, data in self._runtime.logs(record.id, self._options(wanted)):
            piece = data if left is None else data[:left]
            yield piece
            if left is not None:
                left -= len(piece)
                if left <= 0:
                    return

    def _options(self, wanted: pb.LogsRequest) -> LogOptions:
        since = 0.0
        if wanted.HasField("since_seconds"):
            since = self._clock.now() - wanted.since_seconds
        elif wanted.since_time:
            try:
                since = times.parse(wanted.since_time)
            except ValueError as e:
                raise errors.BadRequest(f"invalid since_time: {e}") from e
        return LogOptions(
            follow=wanted.follow,
            timestamps=wanted.timestamps,
            tail=wanted.tail_lines if wanted.HasField("tail_lines") else None,
            since=since,
            stdout=wanted.stream in ("", "All", "Stdout"),
            stderr=wanted.stream in ("", "All", "Stderr"),
        )
