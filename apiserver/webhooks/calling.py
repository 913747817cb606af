"""One JSON document to a webhook, one back.

https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#contacting-the-webhook
"""

import asyncio
import ssl
from types import TracebackType
from typing import Any, Protocol

import aiohttp
import msgspec
from yarl import URL

from apiserver import trust
from apiserver.nodes.services import Backends
from apiserver.nodes.tunnels import Tunnels
from apiserver.webhooks import words
from apiserver.webhooks.connecting import Connector, Unreachable

LARGEST = 32 * 2**20
"""Bytes of an answer: conversions carry whole lists."""
_NO_TIMEOUT = aiohttp.ClientTimeout(None)


class CallFault(Exception):
    """The webhook gave no answer that can be read. The message is whole: `Post "https://…": WHY`."""


class ServiceReference(Protocol):
    name: str
    namespace: str
    path: str
    port: int | None


class ClientConfig(Protocol):
    """A WebhookClientConfig, of whichever API group."""

    caBundle: str

    @property
    def service(self) -> ServiceReference | None: ...

    @property
    def url(self) -> str: ...


def url_of(config: ClientConfig) -> str:
    """Where the webhook is; a service's name stands for it as a host."""
    service = config.service
    if service is None:
        return config.url
    path = service.path or ""
    path = path if path.startswith("/") or not path else f"/{path}"
    return f"https://{service.name}.{service.namespace}.svc:{service.port or 443}{path}"


class Caller:
    """Keeps connections open between calls. Safe for any number of concurrent callers.

    Opens its pool at the first call; `close` ends it. `tunnels` is closed by whoever made it, after this.
    """

    def __init__(self, backends: Backends, tunnels: Tunnels) -> None:
        self._backends = backends
        self._tunnels = tunnels
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Caller":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, e: BaseException | None, t: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(self, client_config: ClientConfig, body: dict[str, Any], timeout: float) -> dict[str, Any]:
        """POST `body` and return the answer.  Raises CallFault, after `timeout` seconds at the latest."""
        url = f"{url_of(client_config)}?timeout={timeout:g}s"
        try:
            context = trust.context(client_config.caBundle or "")
        except trust.Unreadable as e:
            raise CallFault(f"could not get REST client: {e}") from e
        document = msgspec.json.encode(body)
        try:
            async with asyncio.timeout(timeout):
                try:
                    code, answer = await self._post(url, document, context)
                except aiohttp.ServerDisconnectedError:  # a kept connection may end just as it is used: a new one
                    code, answer = await self._post(url, document, context)
        except TimeoutError as e:
            raise CallFault(words.about("Post", url, words.DEADLINE)) from e
        except Unreachable as e:
            raise CallFault(words.about("Post", url, str(e))) from e
        except aiohttp.ServerDisconnectedError as e:
            raise CallFault(words.about("Post", url, "EOF")) from e
        except (aiohttp.ClientError, OSError, ValueError) as e:
            raise CallFault(words.about("Post", url, str(e))) from e
        return _read(code, answer)

    async def _post(self, url: str, document: bytes, context: ssl.SSLContext) -> tuple[int, bytes]:
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, */*",
            "User-Agent": "kube-apiserver-admission",
        }
        where = URL(url, encoded=True)
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=Connector(self._backends, self._tunnels), timeout=_NO_TIMEOUT,
                cookie_jar=aiohttp.DummyCookieJar(),
            )  # fmt: skip
        async with self._session.post(
            where, data=document, headers=headers, ssl=context, allow_redirects=False
        ) as found:
            answer = await found.content.read(LARGEST + 1)
            while len(answer) <= LARGEST and (piece := await found.content.read(LARGEST + 1 - len(answer))):
                answer += piece
            if len(answer) > LARGEST:
                raise ValueError(f"http: response body is over the limit of {LARGEST} bytes")
            return found.status, answer


def _read(code: int, answer: bytes) -> dict[str, Any]:
    """Raises CallFault for a refusal, or for an answer that is no JSON object."""
    if not 200 <= code < 300:
        raise CallFault(_refusal(code, answer))
    try:
        found = msgspec.json.decode(answer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        raise CallFault(f"couldn't get version/kind; json parse error: {e}") from e
    if not isinstance(found, dict):
        raise CallFault("couldn't get version/kind; json parse error: the answer is not an object")
    return found


_MEANINGS = {
    401: "the server has asked for the client to provide credentials",
    404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    429: "the server has received too many requests and has asked us to try again later",
}
_NOT_IN_TIME = (
    "the server was unable to return a response in the time allotted, but may still be processing the request"
)


def _refusal(code: int, answer: bytes) -> str:
    """As client-go says what an HTTP status means."""
    text = answer[:2048].decode("utf-8", errors="replace").strip()
    because = f" ({text})" if text else ""
    if code in _MEANINGS:
        return _MEANINGS[code]
    if code in (403, 415):
        return text or "unknown"
    if code == 503:
        return f"the server is currently unable to handle the request{because}"
    if code == 504:
        return _NOT_IN_TIME + because
    if code >= 500:
        return f'an error on the server ("{text or "unknown"}") has prevented the request from succeeding'
    return f"the server responded with the status code {code} but did not return more information"
