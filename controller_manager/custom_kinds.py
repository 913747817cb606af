"""The kinds that CustomResourceDefinitions describe, as they come and go.

Controllers that work on every kind learn of them here, each kind in one version only, with an informer of the metadata
of its objects.
"""

from collections.abc import Callable, Iterable
from typing import Any

from api import meta
from api.kinds import Kind
from api.types import CustomResourceDefinition
from controller_manager.informing import Informers
from machinery.informers import Informer

Come = Callable[[Kind, Informer[Any]], None]
Gone = Callable[[Kind, Informer[Any]], None]


def kind_of(crd: CustomResourceDefinition) -> Kind | None:
    """The kind that a definition describes: as it is stored, or as it is served; None if it is not served."""
    names, spec = crd.status.acceptedNames, crd.spec
    served = [version for version in spec.versions if version.served]
    if names is None or not served or not meta.is_true(crd, "Established"):
        return None
    version = next((v for v in served if v.storage), served[0])
    return Kind(
        spec.group or "", version.name or "", names.kind or "", names.plural or "", spec.scope == "Namespaced",
        custom=True,
    )  # fmt: skip


def kinds_of(crds: Iterable[CustomResourceDefinition]) -> list[Kind]:
    return [kind for crd in crds if (kind := kind_of(crd)) is not None]


class CustomKinds:
    """Handlers must be added before the informers run. They are called with the informer before it has begun."""

    def __init__(self, informers: Informers) -> None:
        self._informers = informers
        self._kinds: dict[str, tuple[Kind, Informer[Any]]] = {}
        self._handlers: list[tuple[Come, Gone]] = []
        self.definitions = informers(CustomResourceDefinition)
        self.definitions.on_change(self._changed)

    def on_change(self, come: Come, gone: Gone) -> None:
        """Call `come` for each kind that is served, `gone` when it is no more."""
        self._handlers.append((come, gone))

    def _changed(self, old: Any | None, new: Any | None) -> None:
        crd: Any = new or old
        name = crd.metadata.name
        kind = kind_of(new) if new is not None else None
        known = self._kinds.get(name)
        if known is not None and known[0] != kind:
            del self._kinds[name]
            for _, gone in self._handlers:
                gone(*known)
            self._informers.forget(known[0])
            known = None
        if kind is not None and known is None:
            added = self._kinds[name] = kind, self._informers.metadata(kind)
            for come, _ in self._handlers:
                come(*added)
