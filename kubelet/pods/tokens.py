"""The service account tokens that pods mount: asked for as their kubelet, kept, and renewed in good time.

https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#launch-a-pod-using-service-account-token-projection
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from api import errors, meta, times
from api.types import (
    BoundObjectReference,
    Pod,
    ServiceAccount,
    ServiceAccountTokenProjection,
    TokenRequest,
    TokenRequestSpec,
)
from machinery.client import Client
from machinery.clocks import Clock

HOUR, DAY = 3600, 24 * 3600.0
RENEWED_AT = 0.8
"""Of a token's lifetime; and after a day at the latest."""
Asked = tuple[str, int]
"""Audience, seconds."""


@dataclass(frozen=True, slots=True)
class _Token:
    text: bytes
    renew_at: float
    ends_at: float


def wanted(pod: Pod) -> Iterator[ServiceAccountTokenProjection]:
    for volume in pod.spec.volumes:
        for source in volume.projected.sources if volume.projected is not None else ():
            if source.serviceAccountToken is not None:
                yield source.serviceAccountToken


def asked(projection: ServiceAccountTokenProjection) -> Asked:
    return projection.audience, projection.expirationSeconds or HOUR


class Tokens:
    """Safe for any number of concurrent callers that ask for different pods."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._held: dict[tuple[str, Asked], _Token] = {}

    async def of(self, pod: Pod) -> dict[Asked, bytes]:
        """Every token that the pod's volumes show.  Raises errors.ApiError."""
        all_asked = {asked(projection) for projection in wanted(pod)}
        found = await asyncio.gather(*(self._one(pod, each) for each in all_asked))
        return dict(zip(all_asked, found, strict=True))

    async def _one(self, pod: Pod, each: Asked) -> bytes:
        key, now = (pod.metadata.uid, each), self._clock.now()
        held = self._held.get(key)
        if held is None or now >= held.renew_at:
            try:
                held = await self._request(pod, *each)
            except errors.ApiError:
                if held is None or now >= held.ends_at:
                    raise
                return held.text  # it is good until then, and the next one who looks asks again
            # Those of pods that are gone are not renewed, so they go by their end.
            self._held = {k: v for k, v in self._held.items() if v.ends_at > now}
            self._held[key] = held
        return held.text

    async def _request(self, pod: Pod, audience: str, seconds: int) -> _Token:
        metadata = pod.metadata
        spec = TokenRequestSpec(
            audiences=[audience] if audience else [],
            expirationSeconds=seconds,
            boundObjectRef=BoundObjectReference(apiVersion="v1", kind="Pod", name=metadata.name, uid=metadata.uid),
        )
        now, account = self._clock.now(), pod.spec.serviceAccountName
        answer = await self._client.create_subresource(
            ServiceAccount, account, metadata.namespace, "token", TokenRequest(spec=spec)
        )
        status = meta.decode(answer, TokenRequest).status
        ends_at = times.parse(status.expirationTimestamp)
        lifetime = ends_at - now
        return _Token(status.token.encode(), now + min(DAY, RENEWED_AT * lifetime), ends_at)
