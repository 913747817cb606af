"""The kinds that are served at this moment: the built-in ones, and those that CustomResourceDefinitions describe.

Looking a kind up is one dictionary access, for built-in and custom kinds alike.  `version` grows with every change: it
is the key of whatever was computed from the kinds (discovery and OpenAPI documents).
"""

from collections.abc import Iterable, Sequence

from api.kinds import BUILT_IN, Kind


class Catalogue:
    def __init__(self, built_in: Sequence[Kind] = BUILT_IN) -> None:
        self._built_in = tuple(built_in)
        self._versions = frozenset((kind.group, kind.version) for kind in built_in)
        self.version = 0
        self.replace(())

    def kinds(self) -> tuple[Kind, ...]:
        """Everything served: built-in kinds in their order, then custom ones."""
        return self._kinds

    def built_in(self) -> tuple[Kind, ...]:
        return self._built_in

    def customs(self) -> tuple[Kind, ...]:
        return self._kinds[len(self._built_in) :]

    def by_resource(self, group: str, version: str, plural: str) -> Kind | None:
        """The kind behind a path such as `/apis/GROUP/VERSION/PLURAL`; None if there is none."""
        return self._by_resource.get((group, version, plural))

    def by_name(self, api_version: str, kind: str) -> Kind | None:
        """The kind of an object's `apiVersion` and `kind`; None if there is none."""
        return self._by_name.get((api_version, kind))

    def serves(self, group: str, version: str) -> bool:
        return (group, version) in self._group_versions

    def is_custom(self, group: str, version: str) -> bool:
        """Whether nothing but definitions makes kinds of it."""
        return (group, version) not in self._versions

    def replace(self, customs: Iterable[Kind]) -> None:
        """Serve these custom kinds and no others. A group's version with built-in kinds has no custom ones."""
        found = [kind for kind in customs if (kind.group, kind.version) not in self._versions]
        self._kinds = (*self._built_in, *found)
        self._by_resource = {(k.group, k.version, k.plural): k for k in reversed(self._kinds)}
        self._by_name = {(k.api_version, k.name): k for k in reversed(self._kinds)}
        self._group_versions = frozenset((k.group, k.version) for k in self._kinds)
        self.version += 1
