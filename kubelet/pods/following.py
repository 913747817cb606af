"""ConfigMaps and Secrets that this node's pods refer to, each followed by one watch, however many pods show it.

https://kubernetes.io/docs/tutorials/configuration/updating-configuration-via-a-configmap/
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Protocol

from api.types import ConfigMap, Pod, Secret
from kubelet.containers import environments
from kubelet.volumes import contents
from machinery.client import Client
from machinery.clocks import Clock
from machinery.informers import Informer

ROOT_CERTIFICATE = "kube-root-ca.crt"
"""Every pod has it, in every namespace, and it changes once in years: it is looked at now and then."""

Shown = ConfigMap | Secret


class Reference(NamedTuple):
    what: type[ConfigMap] | type[Secret]
    namespace: str
    name: str


Told = Callable[[Reference, str], None]
"""Hears the version of what is there now, "" if that has gone."""


class Follows(Protocol):
    def follow(self, pod: Pod, told: Told) -> None: ...

    def leave(self, pod: Pod) -> None: ...


class Following:
    """Tells pods of what they refer to: as it is now, and as it appears, changes and goes.  `run` owns the watches."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self._told: dict[Reference, dict[str, Told]] = {}
        self._watches: dict[Reference, asyncio.Task[None]] = {}
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        async with asyncio.TaskGroup() as self._tasks:
            for reference in self._told:
                self._watch(reference)
            await asyncio.Event().wait()

    def follow(self, pod: Pod, told: Told) -> None:
        for reference in references(pod):
            others = self._told.setdefault(reference, {})
            others[pod.metadata.uid] = told
            if len(others) == 1:
                self._watch(reference)

    def leave(self, pod: Pod) -> None:
        for reference in references(pod):
            others = self._told.get(reference, {})
            others.pop(pod.metadata.uid, None)
            if not others:
                self._told.pop(reference, None)
                if watch := self._watches.pop(reference, None):
                    watch.cancel()

    def _watch(self, reference: Reference) -> None:
        if self._tasks is None:
            return
        what, namespace, name = reference
        informer: Informer[Shown] = Informer(
            self._client, what, namespace, field_selector=f"metadata.name={name}", clock=self._clock
        )  # fmt: skip

        def changed(_: Shown | None, new: Shown | None) -> None:
            for told in self._told.get(reference, {}).values():
                told(reference, new.metadata.resourceVersion if new is not None else "")

        informer.on_change(changed)
        self._watches[reference] = self._tasks.create_task(informer.run(), name=f"{what.__name__} {namespace}/{name}")


class NotFollowing:
    """For nodes whose pods refer to nothing."""

    def follow(self, pod: Pod, told: Told) -> None:
        pass

    def leave(self, pod: Pod) -> None:
        pass


def references(pod: Pod) -> set[Reference]:
    """What the pod's volumes and variables name; not what may be debugging containers' alone."""
    config_maps, secrets = contents.references(pod.spec.volumes)
    more = environments.references([*pod.spec.initContainers, *pod.spec.containers])
    namespace = pod.metadata.namespace
    return {
        *(Reference(ConfigMap, namespace, n) for n in config_maps | more[0] if n and n != ROOT_CERTIFICATE),
        *(Reference(Secret, namespace, n) for n in secrets | more[1] if n),
    }
