"""Which representation an Accept header asks for.

https://kubernetes.io/docs/reference/using-api/api-concepts/#alternate-representations-of-resources
"""

from typing import NamedTuple

from api.errors import NotAcceptable
from machinery.remembering import remembered

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
SERVED = (JSON, YAML, PROTOBUF)
_MEDIA = {"*/*": JSON, "application/*": JSON, JSON: JSON, YAML: YAML, "text/yaml": YAML, PROTOBUF: PROTOBUF}
_TEXT = "only the following media types are accepted: "


class Clause(NamedTuple):
    """One member of an Accept header."""

    media: str
    parameters: dict[str, str]


class Representation(NamedTuple):
    """How to answer: the media type, and into what the object is turned."""

    media: str = JSON
    as_: str = ""
    """Table, PartialObjectMetadata, PartialObjectMetadataList, or "" for the object itself."""
    version: str = "v1"
    """Of the group meta.k8s.io."""
    pretty: bool = False


PLAIN = Representation()


@remembered(512)
def clauses(accept: str) -> tuple[Clause, ...]:
    """The members of an Accept header, the preferred first; those with q=0 are left out."""
    found: list[tuple[float, int, Clause]] = []
    for at, member in enumerate(accept.split(",")):
        media, *words = (w.strip() for w in member.split(";"))
        parameters = {k.strip().lower(): v.strip().strip('"') for k, _, v in (w.partition("=") for w in words)}
        try:
            quality = float(parameters.pop("q", "1"))
        except ValueError:
            quality = 0.0
        if media and quality > 0:
            found.append((-quality, at, Clause(media.lower(), parameters)))
    return tuple(c for _, _, c in sorted(found, key=lambda f: f[:2]))


@remembered(512)
def representation(
    accept: str, turns: tuple[str, ...] = (), served: tuple[str, ...] = SERVED, *, binary: bool = True
) -> Representation:
    """The first representation asked for that is served. `turns` are the values of `as` that this endpoint knows;
    `binary` says whether the object itself has a form in protobuf.

    Tables are never protobuf: they hold any value.  Raises NotAcceptable.
    """
    if not accept:
        return PLAIN
    for media, parameters in clauses(accept):
        found = _MEDIA.get(media, "")
        as_, version = parameters.get("as", ""), parameters.get("v", "v1")
        if found not in served or (found == PROTOBUF and (as_ == "Table" or not (as_ or binary))):
            continue
        if as_ and not (as_ in turns and parameters.get("g") == "meta.k8s.io" and version in ("v1", "v1beta1")):
            continue
        return Representation(found, as_, version, parameters.get("pretty", "0") not in ("", "0", "false"))
    raise not_acceptable(served)


def prefers_protobuf(accept: str) -> bool:
    """Whether an object without any turn would be sent as protobuf."""
    try:
        return representation(accept).media == PROTOBUF
    except NotAcceptable:
        return False


def not_acceptable(served: tuple[str, ...]) -> NotAcceptable:
    return NotAcceptable(_TEXT + ", ".join(served))
