"""The way of a request: is there such a page, who asks, may they, what does it say."""

import logging
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from kubelet.metrics import Metrics
from kubelet.web.askers import Askers
from kubelet.web.pages import NOT_FOUND
from kubelet.web.rights import CannotTell, Rights, right

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Pages = Mapping[tuple[str, str], Handler]
"""(method, path) → what answers; a path that ends with a slash is everything below it too."""

METHODS = ("OPTIONS", "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "CONNECT")

log = logging.getLogger("web")


def answering(page: Callable[[web.BaseRequest], web.Response]) -> Handler:
    """A page that is there at once."""

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return page(request)

    return handler


class Door:
    def __init__(self, askers: Askers, rights: Rights, pages: Pages, metrics: Metrics) -> None:
        self._askers = askers
        self._rights = rights
        self._pages = pages
        self._metrics = metrics

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        found = self._find(request.path)
        with self._metrics.answering(*_bucket(request, known=bool(found))):
            return await self._answer(request, found)

    async def _answer(self, request: web.BaseRequest, found: dict[str, Handler]) -> web.StreamResponse:
        if not found:
            return web.Response(status=404, text=NOT_FOUND)
        asker = await self._askers.of(request)
        if asker is None:
            return web.Response(status=401, text="Unauthorized")
        try:
            refusal = await self._rights.refusal(asker, right(request.method, request.path))
        except CannotTell as e:
            log.warning("%s: %s", e, e.__cause__)
            return web.Response(status=500, text=str(e))
        if refusal:
            return web.Response(status=403, text=refusal)
        handler = found.get(request.method) or (found.get("GET") if request.method == "HEAD" else None)
        if handler is None:
            return web.Response(status=405, text="405: Method Not Allowed", headers={"Allow": ", ".join(sorted(found))})
        return await handler(request)

    def _find(self, path: str) -> dict[str, Handler]:
        """By method; the longest page that the path is, or is below of."""
        path = f"{path.rstrip('/')}/"
        fitting = [p for _, p in self._pages if path == f"{p.rstrip('/')}/" or (p.endswith("/") and path.startswith(p))]
        longest = max(fitting, key=len, default=None)
        return {method: handler for (method, p), handler in self._pages.items() if p == longest}


def _bucket(request: web.BaseRequest, *, known: bool) -> tuple[str, str]:
    """Under which method and path upstream counts a request: there are few of both, whatever clients think of."""
    first, _, rest = request.path.strip("/").partition("/")
    path = f"{first}/{rest.partition('/')[0]}" if first == "metrics" and rest else first
    return request.method if request.method in METHODS else "other", path if known else "other"
