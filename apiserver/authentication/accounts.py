"""What service account tokens are worth: the account, and whatever a token is bound to, must still be there.

Signatures are checked once for each token, this at every request, so that a deleted pod's token ends with the pod.
"""

from collections.abc import Iterable
from typing import Any

from api import errors, kinds, times
from api.errors import Unauthorized
from api.types import Node, Pod, Secret, ServiceAccount
from apiserver.admission.reading import Reader, find
from apiserver.authentication.tokens import PRIVATE, Keys, Untrue
from apiserver.requests import User
from machinery.clocks import Clock

PREFIX = "system:serviceaccount:"
GROUP = "system:serviceaccounts"
EXTRA, CREDENTIAL = "authentication.kubernetes.io/", "credential-id"
ACCOUNTS, PODS, SECRETS, NODES = (kinds.of(t) for t in (ServiceAccount, Pod, Secret, Node))
LEEWAY = 60.0
"""Seconds after its deletion that an object, still there, vouches for its tokens."""


class Accounts:
    """Safe for any number of concurrent callers."""

    def __init__(self, keys: Keys, reader: Reader, clock: Clock) -> None:
        self.keys = keys
        self._reader = reader
        self._clock = clock

    async def owner(self, token: str, audiences: Iterable[str] = ()) -> tuple[User, list[str]]:
        """Whose token it is, and which of the audiences (none: this API's own) it is for.  Raises Unauthorized."""
        try:
            claims, common = self.keys.read(token, tuple(audiences) or (self.keys.issuer,), self._clock.now())
            return await self._user(claims), common
        except (Untrue, KeyError, TypeError, AttributeError) as e:
            raise Unauthorized("Unauthorized") from e

    async def _user(self, claims: dict[str, Any]) -> User:
        about = claims[PRIVATE]
        namespace, account = about["namespace"], about["serviceaccount"]
        await self._exists(ACCOUNTS, namespace, account)
        extra = {CREDENTIAL: f"JTI={claims['jti']}"}
        if pod := about.get("pod"):
            await self._exists(PODS, namespace, pod)
            extra |= {"pod-name": pod["name"], "pod-uid": pod["uid"]}
        if secret := about.get("secret"):
            await self._exists(SECRETS, namespace, secret)
        if node := about.get("node"):
            if not pod:
                await self._exists(NODES, "", node)
            extra |= {f"node-{key}": node[key] for key in ("name", "uid") if key in node}
        return User(
            f"{PREFIX}{namespace}:{account['name']}",
            account["uid"],
            (GROUP, f"{GROUP}:{namespace}", "system:authenticated"),
            {EXTRA + key: (value,) for key, value in extra.items()},
        )

    async def _exists(self, kind: kinds.Kind, namespace: str, named: dict[str, str]) -> None:
        try:
            found = await find(self._reader, kind, namespace, named["name"])
        except errors.ApiError as e:
            raise Untrue(f"{kind.plural} cannot be looked at: {e.message}") from e
        if found is None or found.metadata.uid != named["uid"]:
            raise Untrue(f"{kind.singular} {named['name']} of the token is gone")
        deleted = found.metadata.deletionTimestamp
        if deleted and self._clock.now() > times.parse(deleted) + LEEWAY:
            raise Untrue(f"{kind.singular} {named['name']} of the token has been deleted")
