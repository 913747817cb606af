"""What has a selector, found by the labels of a pod: of a thousand Deployments' terms, those that may be about it."""

from collections.abc import Hashable, Iterator, Mapping
from typing import Generic, TypeVar

from api.labels import Selector

T = TypeVar("T", bound=Hashable)


class Filing(Generic[T]):
    """Each stands under the labels of which its selector demands one, or among those that no label rules out."""

    def __init__(self) -> None:
        self._by_label: dict[tuple[str, str] | None, dict[T, None]] = {}

    def add(self, what: T, selector: Selector) -> None:
        for place in _places(selector):
            self._by_label.setdefault(place, {})[what] = None

    def remove(self, what: T, selector: Selector) -> None:
        for place in _places(selector):
            found = self._by_label[place]
            del found[what]
            if not found:
                del self._by_label[place]

    def find(self, labels: Mapping[str, str]) -> Iterator[T]:
        """Everything whose selector matches, each once, and little that does not."""
        yield from self._by_label.get(None, ())
        for label in labels.items():
            yield from self._by_label.get(label, ())


def _places(selector: Selector) -> list[tuple[str, str] | None]:
    """One key, so that no pod has two of them."""
    if selector.nothing:
        return []
    demanded = (r for r in selector.requirements if r.operator in ("=", "in"))
    chosen = min(demanded, key=lambda r: len(r.values), default=None)
    return [(chosen.key, value) for value in chosen.values] if chosen is not None else [None]
