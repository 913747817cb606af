"""`/metrics` and `/healthz` of a component over HTTPS, for those who watch it with Prometheus and the like.

The usual ports are gRPC's here, so this is a port of its own, and only where somebody asks for it.  As upstream's:
health is told to everybody, metrics only to users of the cluster's authority who are allowed to see them.
https://kubernetes.io/docs/concepts/cluster-administration/system-metrics/
"""

from collections.abc import Callable, Collection, Iterable, Mapping

from aiohttp import web
from prometheus_client.metrics_core import Metric

from machinery.https import HttpsServer, shown_by
from machinery.metrics import Exposition
from machinery.serving import Files

MASTERS = "system:masters"
METRICS, CONFIGURATION = "/metrics", "/configz"
HEALTH = ("/healthz", "/livez", "/readyz")
Check = Callable[[], bool]


class Monitor:
    """Serves what `exposition` has. `checks` are what must hold, by name, for health to be well."""

    def __init__(
        self, address: str, files: Files, exposition: Exposition, *, allowed: Collection[str] = (),
        checks: Mapping[str, Check] | None = None, readiness: Mapping[str, Check] | None = None,
        configuration: bytes = b"",
    ) -> None:  # fmt: skip
        """`address` is HOST:PORT; `allowed` are user names, beside those of the group system:masters.

        `readiness` must hold beside `checks` for /readyz; `configuration` is a JSON document, told as /configz.
        """
        self._server = HttpsServer(address, files, self._answer)
        self._exposition = exposition
        self._allowed = frozenset(allowed)
        self._checks: Mapping[str, Check] = checks or {}
        self._readiness: Mapping[str, Check] = readiness or {}
        self._configuration = configuration

    async def run(self) -> None:
        """Serve until cancelled."""
        await self._server.run()

    async def bound(self) -> int:
        """The port, once it is being listened on."""
        return await self._server.bound()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, text="405 Method Not Allowed\n", headers={"Allow": "GET, HEAD"})
        if request.path in HEALTH:
            question, verbose = request.path.strip("/"), "verbose" in request.query
            readiness = self._readiness if question == "readyz" else {}
            return health({**self._checks, **readiness}, verbose=verbose, question=question)
        if request.path != METRICS and not (request.path == CONFIGURATION and self._configuration):
            return web.Response(status=404, text="404 page not found\n")
        user, groups = shown_by(request)
        if not user:
            return web.Response(status=401, text="Unauthorized\n")
        if user not in self._allowed and MASTERS not in groups:
            return web.Response(status=403, text=f'Forbidden: User "{user}" cannot get path "{request.path}"\n')
        if request.path == CONFIGURATION:
            return web.Response(body=self._configuration, content_type="application/json")
        return metrics(request, self._exposition)


def health(checks: Mapping[str, Check], *, verbose: bool = False, question: str = "healthz") -> web.Response:
    """Upstream's answer about `checks` and about the server that gives it."""
    holds = {"ping": True} | {name: check() for name, check in checks.items()}
    well = all(holds.values())
    if well and not verbose:
        return web.Response(text="ok")
    lines = [f"[+]{name} ok" if held else f"[-]{name} failed: reason withheld" for name, held in holds.items()]
    lines.append(f"{question} check passed" if well else f"{question} check failed")
    return web.Response(status=200 if well else 500, text="\n".join(lines) + "\n")


def metrics(request: web.BaseRequest, exposition: Exposition, more: Iterable[Metric] = ()) -> web.Response:
    """In the form that the client wants; `more` are families that were made for this once."""
    media, body = exposition.render(request.headers.get("Accept", ""), more)
    return web.Response(body=body, headers={"Content-Type": media})
