"""What is not an object: discovery, versions, health, the OpenAPI documents.

https://kubernetes.io/docs/reference/using-api/health-checks/
"""

import hashlib
import platform
import sys
from collections.abc import Callable, Mapping
from urllib.parse import parse_qs

import msgspec
from aiohttp import web

from api import schema
from api.errors import no_such_method
from apiserver.catalogue import Catalogue
from apiserver.metrics import Metrics
from apiserver.rest import health, openapi, options, responses
from apiserver.rest.discovery import Discovery, Others
from apiserver.rest.negotiation import JSON, YAML, Representation, clauses, representation
from apiserver.rest.paths import PageNotFound

Fixed = Mapping[str, Callable[[], tuple[str, bytes]]]
"""Path → what makes (content type, content)."""
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
    """`port` is where the REST door listens, which discovery tells; `fixed` are more pages."""

    def __init__(
        self,
        checks: health.Checks,
        port: Callable[[], int],
        fixed: Fixed | None = None,
        catalogue: Catalogue | None = None,
        metrics: Metrics | None = None,
        others: Others | None = None,
    ) -> None:
        self._metrics = metrics
        self._discover = Discovery(catalogue or Catalogue(), others)
        self._fixed = fixed or {}
        self._health = health.Health(checks)
        self._port = port
        self._version = msgspec.json.encode(version())
        self._openapi = openapi.Documents(catalogue or Catalogue(), others)

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
            media, content = known()
            document = await responses.send(http, content, audit)
            document.headers["Content-Type"] = media
            page: web.StreamResponse | None = document
        elif first in health.PATHS:
            page = self._healthy(http, first, rest, audit)
        elif first in ("api", "apis"):
            page = await self._discovery(http, path.rstrip("/"), audit)
        elif first == "metrics" and not rest and self._metrics is not None:
            page = self._shown(http, audit)
        elif first == "version" and not rest:
            how = representation(http.headers.get("Accept", ""), served=(JSON, YAML))
            page = await responses.send(http, self._version, audit, how=how._replace(pretty=True))
        elif first == "openapi":
            page = await self._openapi.serve(http, rest, audit)
        elif not first:
            page = await responses.send(http, self._discover.roots(), audit, how=Representation(pretty=True))
        else:
            return None
        if page is not None and http.method not in ("GET", "HEAD"):
            raise no_such_method()
        return page

    async def _discovery(self, http: web.BaseRequest, path: str, audit: str) -> web.StreamResponse | None:
        accept = http.headers.get("Accept", "")
        if path in ("/api", "/apis"):
            for media, parameters in clauses(accept):
                wanted = parameters.get("g"), parameters.get("v")
                if media == JSON and wanted in (("apidiscovery.k8s.io", "v2"), ("apidiscovery.k8s.io", "v2beta1")):
                    return await self._aggregated(http, path, parameters["v"], audit)
                if media in ("application/json", "*/*") and not parameters.get("as"):
                    break
        document = self._discover.document(path, self._address(http))
        if document is None:
            return None
        query = options.parse(http.raw_path.partition("?")[2])
        pretty = options.is_pretty(query, http.headers.get("User-Agent", ""))
        return await responses.send(http, document, audit, how=representation(accept)._replace(pretty=pretty))

    async def _aggregated(self, http: web.BaseRequest, path: str, version: str, audit: str) -> web.StreamResponse:
        """Clients keep the document, and ask with its tag whether it is still the one."""
        document = self._discover.aggregated(path, version)
        own = {"ETag": f'"{hashlib.sha256(document).hexdigest().upper()}"', "Cache-Control": "public"}
        if http.headers.get("If-None-Match") == own["ETag"]:
            return web.Response(status=304, headers={"Audit-Id": audit, "Vary": "Accept", **own})
        response = await responses.send(http, document, audit)
        response.headers.update(own)
        response.headers.add("Vary", "Accept")
        response.headers["Content-Type"] = f"{JSON};g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
        return response

    def _address(self, http: web.BaseRequest) -> str:
        name = http.transport.get_extra_info("sockname") if http.transport is not None else None
        return f"{name[0]}:{self._port()}" if name else ""

    def _healthy(self, http: web.BaseRequest, page: str, rest: list[str], audit: str) -> web.StreamResponse | None:
        query = parse_qs(http.query_string, keep_blank_values=True)
        answer = self._health.answer(page, "/".join(rest), query.get("exclude", []), "verbose" in query)
        return responses.text(answer[1], audit, answer[0]) if answer is not None else None

    def _shown(self, http: web.BaseRequest, audit: str) -> web.StreamResponse:
        assert self._metrics is not None
        media, body = self._metrics.exposition.render(http.headers.get("Accept", ""))
        return responses.page(media, body, audit)
