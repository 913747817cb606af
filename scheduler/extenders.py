"""Webhooks that have a say in scheduling: they filter and value nodes, and may bind.

https://kubernetes.io/docs/concepts/extend-kubernetes/#scheduler-extensions . They are asked about the nodes that the
plug-ins left, one after another; what they say is advice that the decision, which stays pure, is given.
"""

import asyncio
import logging
import ssl
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import aiohttp
import msgspec

from api import errors, meta
from api.types import Node, Pod
from machinery.running import CannotGoOn
from scheduler.advice import Advice, Failed, Refusal
from scheduler.extender_documents import Extender, TLSConfig

# An extender gives up to ten points; a plug-in up to a hundred.
WORTH = 10
log = logging.getLogger("extenders")


class Extenders:
    def __init__(self, configured: Sequence[Extender], node: Callable[[str], Node | None]) -> None:
        """`node` finds one by its name.  Raises CannotGoOn if files of a TLS configuration cannot be read."""
        self._extenders = [_Webhook(each, node) for each in configured]

    def concern(self, pod: Pod) -> bool:
        return any(each.is_interested(pod) for each in self._extenders)

    async def advise(self, pod: Pod, nodes: Iterable[str]) -> Advice:
        """Raises Failed."""
        advice = Advice(frozenset(nodes))
        interested = [each for each in self._extenders if each.is_interested(pod)]
        for each in interested:
            if not advice.allowed:
                return advice
            if each.config.filterVerb:
                await each.filter(pod, advice)
        # Whoever fails to value nodes is passed over: there is a node without its opinion, too.
        asked = [each.prioritize(pod, sorted(advice.allowed)) for each in interested if each.config.prioritizeVerb]
        for points in await asyncio.gather(*asked):
            advice.points.update(points)
        return advice

    def binder(self, pod: Pod) -> "_Webhook | None":
        """Who binds the pod in the scheduler's place."""
        return next((e for e in self._extenders if e.config.bindVerb and e.is_interested(pod)), None)


class _Webhook:
    def __init__(self, config: Extender, node: Callable[[str], Node | None]) -> None:
        self.config = config
        self._node = node
        self._managed = frozenset(resource.name for resource in config.managedResources)
        self._server_name = (config.tlsConfig.serverName if config.tlsConfig else "") or None
        self._tls = _context(config.tlsConfig) if config.enableHTTPS or config.tlsConfig else None

    def is_interested(self, pod: Pod) -> bool:
        if not self._managed:
            return True
        containers = (*pod.spec.initContainers, *pod.spec.containers)
        return any(not self._managed.isdisjoint((*c.resources.requests, *c.resources.limits)) for c in containers)

    async def filter(self, pod: Pod, advice: Advice) -> None:
        """Raises Failed, unless the extender may be ignored."""
        try:
            answer = await self._ask(self.config.filterVerb, self._arguments(pod, sorted(advice.allowed)))
            if answer.get("error"):
                raise Failed(answer["error"])
        except Failed as e:
            if not self.config.ignorable:
                raise
            log.warning("skipping extender %s as it returned error %s and has ignorable flag set", self.name, e)
            return
        for final, said in ((False, "failednodes"), (True, "failedandunresolvablenodes")):
            for node, why in (answer.get(said) or {}).items():
                advice.refused[node] = Refusal(self.name, why, final)
        if self.config.nodeCacheCapable and answer.get("nodenames") is not None:
            left = frozenset(answer["nodenames"])
        else:
            left = frozenset(n["metadata"]["name"] for n in (answer.get("nodes") or {}).get("items") or ())
        for node in advice.allowed - left - advice.refused.keys():
            advice.refused[node] = Refusal(self.name, "")
        advice.allowed &= left

    async def prioritize(self, pod: Pod, nodes: Sequence[str]) -> Mapping[str, int]:
        try:
            answer = await self._ask(self.config.prioritizeVerb, self._arguments(pod, nodes))
            listed = [_lowered(each) for each in answer]
            return {each["host"]: each["score"] * self.config.weight * WORTH for each in listed}
        except (Failed, KeyError, TypeError) as e:
            log.warning("extender %s did not value nodes: %s", self.name, e)
            return {}

    async def bind(self, pod: Pod, node: str) -> None:
        """Raises ApiError."""
        m = pod.metadata
        arguments = {"PodName": m.name, "PodNamespace": m.namespace, "PodUID": m.uid, "Node": node}
        try:
            answer = await self._ask(self.config.bindVerb, arguments)
        except Failed as e:
            raise errors.Unavailable(str(e)) from e
        if answer.get("error"):
            raise errors.InternalError(answer["error"])

    @property
    def name(self) -> str:
        return self.config.urlPrefix

    def _arguments(self, pod: Pod, nodes: Sequence[str]) -> dict[str, Any]:
        if self.config.nodeCacheCapable:
            return {"Pod": pod, "Nodes": None, "NodeNames": nodes}
        items = [node for name in nodes if (node := self._node(name)) is not None]
        return {"Pod": pod, "Nodes": {"metadata": {}, "items": items}, "NodeNames": None}

    async def _ask(self, verb: str, arguments: Mapping[str, Any]) -> Any:
        """The answer's document, the keys of objects in lower case as Go reads them.  Raises Failed."""
        url = f"{self.config.urlPrefix.rstrip('/')}/{verb}"
        timeout = aiohttp.ClientTimeout(total=self.config.seconds)
        try:
            # A connection for each question: extenders are asked rarely enough, and may restart between two.
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(
                    url,
                    data=meta.encode(arguments),
                    headers={"Content-Type": "application/json"},
                    ssl=self._tls or True,
                    server_hostname=self._server_name,
                ) as response,
            ):
                if response.status != 200:
                    raise Failed(f"failed {verb} with extender at URL {url}, code {response.status}")
                answer = msgspec.json.decode(await response.read())
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as e:
            raise Failed(f'Post "{url}": {e or "context deadline exceeded"}') from e
        return _lowered(answer) if isinstance(answer, dict) else answer


def _lowered(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key.lower(): value for key, value in document.items()}


def _context(config: TLSConfig | None) -> ssl.SSLContext:
    given = config or TLSConfig()
    try:
        ca = b64decode(given.caData).decode() if given.caData else None
        context = ssl.create_default_context(cafile=given.caFile or None, cadata=ca)
        if given.certFile:
            context.load_cert_chain(given.certFile, given.keyFile or None)
    except (OSError, ValueError) as e:
        raise CannotGoOn(f"the TLS configuration of an extender cannot be used: {e}") from e
    if given.insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
