"""The scale subresource of custom kinds: where a definition says that the number of replicas is."""

from typing import Any, NamedTuple

from api.custom import CustomObject
from api.errors import InternalError
from api.kinds import Kind
from apiserver.customs.objects import reached


class Scale(NamedTuple):
    replicas: int
    status_replicas: int
    selector: str


def read(kind: Kind, obj: CustomObject) -> Scale:
    """Raises InternalError if the object does not say how many replicas it shall have."""
    where = kind.shape.scale
    replicas, now, selector = (reached(obj.content, p) for p in (where.replicas, where.status_replicas, where.selector))
    if not isinstance(replicas, int):
        raise InternalError(f'Internal error occurred: the spec replicas field "{where.path}" does not exist')
    return Scale(replicas, now if isinstance(now, int) else 0, selector if isinstance(selector, str) else "")


def write(kind: Kind, obj: CustomObject, replicas: int) -> None:
    """Put the number where it belongs, in place."""
    *outer, last = kind.shape.scale.replicas
    place: Any = obj.content
    for name in outer:
        if not isinstance(place.get(name), dict):
            place[name] = {}
        place = place[name]
    place[last] = replicas
