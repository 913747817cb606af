"""How one extender is asked over HTTP, and how its answers are read.

The documents are those of https://pkg.go.dev/k8s.io/kube-scheduler/extender/v1 ; keys are compared as Go does,
whatever their case.
"""

import os
import ssl
from base64 import b64decode
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import aiohttp
import msgspec

from api import meta
from api.types import Node, Pod
from machinery.running import CannotGoOn
from scheduler.advice import Failed
from scheduler.extender_documents import Extender, TLSConfig
from scheduler.preemption import Candidate

Nodes = Callable[[str], Node | None]


class Webhook:
    def __init__(self, config: Extender) -> None:
        """Raises CannotGoOn if its TLS configuration is of no use."""
        self.config = config
        self._managed = frozenset(resource.name for resource in config.managedResources)
        self._server_name = (config.tlsConfig.serverName if config.tlsConfig else "") or None
        self._tls = _context(config.tlsConfig) if config.enableHTTPS or config.tlsConfig else None

    @property
    def name(self) -> str:
        return self.config.urlPrefix

    def is_interested(self, pod: Pod) -> bool:
        if not self._managed:
            return True
        containers = (*pod.spec.initContainers, *pod.spec.containers)
        return any(not self._managed.isdisjoint((*c.resources.requests, *c.resources.limits)) for c in containers)

    async def filter(
        self, pod: Pod, nodes: Sequence[str], node: Nodes
    ) -> tuple[frozenset[str], Mapping[str, str], Mapping[str, str]]:
        """The nodes that are left, and why others are not; of the last ones, also if pods went.  Raises Failed."""
        answer = await self._ask(self.config.filterVerb, self._arguments(pod, nodes, node))
        with self._reading(answer):
            if answer.get("error"):
                raise Failed(answer["error"], self.name)
            if self.config.nodeCacheCapable and answer.get("nodenames") is not None:
                left = frozenset(answer["nodenames"])
            else:
                left = frozenset(n["metadata"]["name"] for n in _lowered(answer.get("nodes") or {}).get("items") or ())
            for unknown in sorted(left.difference(nodes)):
                raise Failed(
                    f'extender "{self.name}" claims a filtered node "{unknown}" which is not found in the input node '
                    "list",
                    self.name,
                )
            return left, answer.get("failednodes") or {}, answer.get("failedandunresolvablenodes") or {}

    async def prioritize(self, pod: Pod, nodes: Sequence[str], node: Nodes) -> Mapping[str, int]:
        """Raises Failed."""
        answer = await self._ask(self.config.prioritizeVerb, self._arguments(pod, nodes, node))
        with self._reading(answer):
            listed = [_lowered(each) for each in answer]
            return {each["host"]: int(each["score"]) for each in listed}

    async def preempt(self, pod: Pod, candidates: Iterable[Candidate]) -> Mapping[str, tuple[list[str], int]]:
        """By node, the UIDs of those who shall go, and how many budgets that breaks.  Raises Failed."""
        arguments: dict[str, Any] = {"Pod": pod, "NodeNameToVictims": None, "NodeNameToMetaVictims": None}
        if self.config.nodeCacheCapable:
            arguments["NodeNameToMetaVictims"] = {
                c.node: _victims([{"UID": w.pod.metadata.uid} for w in c.victims], c) for c in candidates
            }
        else:
            arguments["NodeNameToVictims"] = {c.node: _victims([w.pod for w in c.victims], c) for c in candidates}
        answer = await self._ask(self.config.preemptVerb, arguments)
        with self._reading(answer):
            # Whether it has a cache or not, it answers with UIDs.
            said = {n: _lowered(v or {}) for n, v in (answer.get("nodenametometavictims") or {}).items()}
            return {
                node: ([_lowered(p)["uid"] for p in v.get("pods") or ()], int(v.get("numpdbviolations") or 0))
                for node, v in said.items()
            }

    async def bind(self, pod: Pod, node: str) -> None:
        """Raises Failed."""
        m = pod.metadata
        arguments = {"PodName": m.name, "PodNamespace": m.namespace, "PodUID": m.uid, "Node": node}
        answer = await self._ask(self.config.bindVerb, arguments)
        with self._reading(answer):
            if answer.get("error"):
                raise Failed(answer["error"], self.name)

    def _arguments(self, pod: Pod, nodes: Sequence[str], node: Nodes) -> dict[str, Any]:
        if self.config.nodeCacheCapable:
            return {"Pod": pod, "Nodes": None, "NodeNames": nodes}
        items = [found for name in nodes if (found := node(name)) is not None]
        return {"Pod": pod, "Nodes": {"metadata": {}, "items": items}, "NodeNames": None}

    @contextmanager
    def _reading(self, answer: object) -> Iterator[None]:
        """Raises Failed if the answer has another shape than it should."""
        try:
            yield
        except (AttributeError, KeyError, TypeError, ValueError) as e:
            raise Failed(f"cannot read the answer {str(answer)[:200]}", self.name) from e

    async def _ask(self, verb: str, arguments: Mapping[str, Any]) -> Any:
        """The answer's document, the keys of an object in lower case.  Raises Failed."""
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
                    raise Failed(f"failed {verb} with extender at URL {url}, code {response.status}", self.name)
                answer = msgspec.json.decode(await response.read())
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as e:
            raise Failed(f'Post "{url}": {e or "context deadline exceeded"}', self.name) from e
        return _lowered(answer) if isinstance(answer, dict) else answer


def _lowered(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key.lower(): value for key, value in document.items()}


def _victims(pods: Collection[Any], candidate: Candidate) -> dict[str, Any]:
    return {"Pods": [*pods], "NumPDBViolations": candidate.violations}


def _context(config: TLSConfig | None) -> ssl.SSLContext:
    given = config or TLSConfig()
    try:
        if given.insecure and (given.caFile or given.caData):
            raise ValueError("specifying a root certificates file with the insecure flag is not allowed")
        ca = b64decode(given.caData, validate=True).decode() if given.caData else None
        context = ssl.create_default_context(cafile=None if ca else given.caFile or None, cadata=ca)
        if given.certData:
            _load(context, b64decode(given.certData, validate=True), b64decode(given.keyData, validate=True))
        elif given.certFile:
            context.load_cert_chain(given.certFile, given.keyFile or None)
    except (OSError, ValueError) as e:
        raise CannotGoOn(f"the TLS configuration of an extender cannot be used: {e}") from e
    if given.insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _load(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """The library reads files only, and a key has no business on a disk: this one is in memory, and nobody else's."""
    file = os.memfd_create("extender")
    try:
        os.write(file, certificate + b"\n" + key)
        context.load_cert_chain(f"/proc/self/fd/{file}")
    finally:
        os.close(file)
