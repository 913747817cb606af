"""What services hold of the addresses and the ports, kept up with what has changed since it was last asked for."""

from collections.abc import Callable, Collection, Container, Iterable, Mapping
from typing import Any, Generic, TypeVar

from api.kinds import Kind
from apiserver.admission.reading import Reader

V = TypeVar("V")


class Holdings(Generic[V]):
    """Who holds which values, without a look at every object for every question."""

    def __init__(self, reader: Reader, kind: Kind, values: Callable[[Any], Iterable[V]]) -> None:
        self._reader = reader
        self._kind = kind
        self._values = values
        self._revision = -1
        self._by_holder: dict[str, tuple[V, ...]] = {}
        self._holders: dict[V, str] = {}

    def now(self) -> Mapping[V, str]:
        """Value → who holds it, as the cache has it. It changes at the next question."""
        self._catch_up()
        return self._holders

    def _catch_up(self) -> None:
        followed = self._reader.changes(self._kind, self._revision)
        if followed.everything:
            self._by_holder, self._holders = {}, {}
        for key, obj in followed.objects:
            for value in self._by_holder.pop(key, ()):
                if self._holders.get(value) == key:
                    del self._holders[value]
            if obj is not None:
                held = self._by_holder[key] = tuple(self._values(obj))
                self._holders.update(dict.fromkeys(held, key))
        self._revision = followed.revision


class Taken(Generic[V]):
    """Values that cannot be given: those of others, and those that were given in this very moment."""

    def __init__(self, *others: Container[V], own: Collection[V] = (), given: Iterable[V] = ()) -> None:
        """What `others` hold, without what is the asker's `own`."""
        self._others = others
        self._own = own
        self._given = set(given)

    def __contains__(self, value: object) -> bool:
        return value in self._given or (value not in self._own and any(value in each for each in self._others))

    def add(self, value: V) -> None:
        self._given.add(value)

    def also(self, values: Iterable[V]) -> "Taken[V]":
        return Taken(*self._others, own=self._own, given=self._given | set(values))
