"""What is not an object: discovery, versions, health, the OpenAPI documents.

https://kubernetes.io/docs/reference/using-api/health-checks/
"""

import platform
import sys
from collections.abc import Callable, Mapping

import msgspec
from aiohttp import web

from api import schema
from api.errors import MethodNotAllowed
from apiserver.rest import discovery, openapi, responses
from apiserver.rest.negotiation import JSON, YAML, clauses, representation
from apiserver.rest.options import parse
from apiserver.rest.paths import NO_SUCH_METHOD, PageNotFound

HEALTH = ("healthz", "livez", "readyz")
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def version() -> dict[str, str]:
    """What /version says. The plus sign makes it a build of that version: kubectl does not warn about it."""
    major, minor = schema.VERSION.lstrip("v").split(".")[:2]
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"{schema.VERSION}+wherry",
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": f"python{sys.version_info.major}.{sys.version_info.minor}",
        "compiler": sys.implementation.name,
        "platform": f"linux/{_MACHINES.get(platform.machine(), platform.machine())}",
    }


class Pages:
    """`port` is where the REST door listens, which discovery tells; `fixed` are more pages: path → (type, content)."""

    def __init__(
        self,
        checks: Mapping[str, Callable[[], bool]],
        port: Callable[[], int],
        fixed: Mapping[str, tuple[str, bytes]] | None = None,
    ) -> None:
        self._fixed = fixed or {}
        self._checks = checks
        self._port = port
        self._version = msgspec.json.encode(version())
        self._openapi = openapi.Documents()

    async def serve(self, http: web.BaseRequest, path: str, audit: str) -> web.StreamResponse:
        """Raises PageNotFound."""
        page = await self.find(http, path, audit)
        if page is None:
            raise PageNotFound
        return page

    async def find(self, http: web.BaseRequest, path: str, audit: str) -> web.StreamResponse | None:
        """The page at a path, None if there is none.  Raises MethodNotAllowed, NotAcceptable."""
        first, *rest = path.strip("/").split("/")
        if (known := self._fixed.get(path.rstrip("/"))) is not None:
            media, content = known
            document = await responses.send(http, content, audit)
            document.headers["Content-Type"] = media
            page: web.StreamResponse | None = document
        elif first in HEALTH:
            page = self._health(http, first, rest, audit)
        elif first in ("api", "apis"):
            page = await self._discovery(http, path.rstrip("/"), audit)
        elif first == "version" and not rest:
            how = representation(http.headers.get("Accept", ""), served=(JSON, YAML))
            page = await responses.send(http, self._version, audit, how=how)
        elif first == "openapi":
            page = await self._openapi.serve(http, rest, audit)
        elif not first:
            page = await responses.send(http, discovery.roots(), audit)
        else:
            return None
        if page is not None and http.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(NO_SUCH_METHOD)
        return page

    async def _discovery(self, http: web.BaseRequest, path: str, audit: str) -> web.StreamResponse | None:
        accept = http.headers.get("Accept", "")
        if path in ("/api", "/apis"):
            for media, parameters in clauses(accept):
                wanted = parameters.get("g"), parameters.get("v")
                if media == JSON and wanted in (("apidiscovery.k8s.io", "v2"), ("apidiscovery.k8s.io", "v2beta1")):
                    found = parameters["v"]
                    response = await responses.send(http, discovery.aggregated(path, found), audit)
                    response.headers["Content-Type"] = (
                        f"{media};g=apidiscovery.k8s.io;v={found};as=APIGroupDiscoveryList"
                    )
                    return response
                if media in ("application/json", "*/*") and not parameters.get("as"):
                    break
        document = discovery.document(path, self._address(http))
        if document is None:
            return None
        return await responses.send(http, document, audit, how=representation(accept))

    def _address(self, http: web.BaseRequest) -> str:
        name = http.transport.get_extra_info("sockname") if http.transport is not None else None
        return f"{name[0]}:{self._port()}" if name else ""

    def _health(self, http: web.BaseRequest, page: str, rest: list[str], audit: str) -> web.StreamResponse | None:
        query = parse(http.query_string)
        excluded = set(query.get("exclude", "").split(","))
        checks = {"ping": _always} if page == "livez" else {"ping": _always, **self._checks}
        if rest:
            if len(rest) > 1 or rest[0] not in checks:
                return None
            checks = {rest[0]: checks[rest[0]]}
        failed, lines = False, []
        for name, check in checks.items():
            if name in excluded:
                lines.append(f"[+]{name} excluded: ok")
            elif check():
                lines.append(f"[+]{name} ok")
            else:
                failed = True
                lines.append(f"[-]{name} failed: reason withheld")
        if failed:
            return responses.text("\n".join([*lines, f"{page} check failed", ""]), audit, 500)
        if "verbose" in query:
            return responses.text("\n".join([*lines, f"{page} check passed", ""]), audit)
        return responses.text("ok", audit)


def _always() -> bool:
    return True
