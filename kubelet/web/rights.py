"""What one must be allowed to for a request to the kubelet, and whether one is, as the API server says it.

https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/#kubelet-authorization
"""

from typing import NamedTuple

from api.errors import ApiError
from api.types import ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec
from kubelet.web.askers import Asker
from machinery.client import Client
from machinery.clocks import Clock
from machinery.remembering import Memory

ALLOWED_SECONDS, REFUSED_SECONDS = 300.0, 30.0
"""How long a decision holds: upstream's defaults."""
VERBS = {"POST": "create", "GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
SUBRESOURCES = (
    ("/stats", ("stats",)),
    ("/metrics", ("metrics",)),
    ("/logs", ("log",)),
    ("/checkpoint", ("checkpoint",)),
    ("/pods", ("pods", "proxy")),
    ("/runningpods", ("pods", "proxy")),
    ("/healthz", ("healthz", "proxy")),
    ("/configz", ("configz", "proxy")),
    ("/statusz", ("statusz", "proxy")),
)  # fmt: skip
EVERYTHING_ELSE = ("proxy",)


class Right(NamedTuple):
    """A verb on the node, with one of these subresources."""

    verb: str
    subresources: tuple[str, ...]


def right(method: str, path: str) -> Right:
    """The narrow one stands first; the broad one, which once was for everything, does as well."""
    for prefix, subresources in SUBRESOURCES:
        if path == prefix or path.startswith(f"{prefix}/"):
            return Right(VERBS.get(method, ""), subresources)
    return Right(VERBS.get(method, ""), EVERYTHING_ELSE)


class CannotTell(Exception):
    """The API server did not answer; the message is upstream's."""


class Rights:
    def __init__(self, client: Client, node: str, clock: Clock) -> None:
        self._client = client
        self._node = node
        self._known: Memory[tuple[Asker, str, str], bool] = Memory(clock)

    async def refusal(self, asker: Asker, wanted: Right) -> str:
        """Upstream's words to whoever may not; "" to whoever may.  Raises CannotTell."""
        for subresource in wanted.subresources:
            if await self._allowed(asker, wanted.verb, subresource):
                return ""
        shown = " ".join(wanted.subresources)
        return f"Forbidden (user={asker.name}, verb={wanted.verb}, resource=nodes, subresource(s)=[{shown}])\n"

    async def _allowed(self, asker: Asker, verb: str, subresource: str) -> bool:
        question = (asker, verb, subresource)
        if question in self._known:
            return self._known[question]
        review = SubjectAccessReview(
            spec=SubjectAccessReviewSpec(
                user=asker.name, uid=asker.uid, groups=list(asker.groups),
                extra={key: list(values) for key, values in asker.extra},
                resourceAttributes=ResourceAttributes(
                    verb=verb, version="v1", resource="nodes", subresource=subresource, name=self._node
                ),
            )
        )  # fmt: skip
        try:
            allowed = bool((await self._client.create(review)).status.allowed)
        except ApiError as e:
            about = f"user={asker.name}, verb={verb}, resource=nodes, subresource={subresource}"
            raise CannotTell(f"Authorization error ({about})") from e
        self._known.put(question, allowed, ALLOWED_SECONDS if allowed else REFUSED_SECONDS)
        return allowed
