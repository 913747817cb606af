"""What passes between the doors (REST, gRPC) and the registry: who asks for what, and what comes back.

Objects are bytes here: the JSON document that is served, `resourceVersion` included.  One document, one list item and
one watch event are shared by everybody who reads them, so nothing in this module may be changed once it was handed out
(except a Request, which belongs to the task that serves it).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from api import paths
from api.errors import BadRequest
from api.kinds import Kind
from api.types import DeleteOptions as WireDeleteOptions
from apiserver import syntax


@dataclass(frozen=True, slots=True)
class User:
    """Whom the request is from, as its certificate or token says."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


ANONYMOUS = User("system:anonymous", groups=("system:unauthenticated",))


@dataclass(slots=True)
class Turn:
    """What one plug-in remembers between the two times."""

    invoked: set[str] = field(default_factory=set)
    """Its parts that want to be called again, and have been called since it last changed the object."""
    due: set[str] = field(default_factory=set)
    """Its parts that are to be called the second time."""
    left: bytes = b""
    """The object as it left it: if that differs the second time, others have changed it."""


@dataclass(slots=True)
class Reinvocation:
    """Whether what may change an object is asked twice: once more, after something outside of this server changed it.

    https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#reinvocation-policy
    """

    wanted: bool = False
    second: bool = False
    """This is the second time."""
    turns: dict[str, Turn] = field(default_factory=dict)
    """By plug-in."""


@dataclass(slots=True)
class Request:
    """One verb on one resource. `verb` is Kubernetes' own word: get list watch create update patch delete
    deletecollection. `namespace` is "" for cluster-scoped kinds and for lists over all namespaces."""

    user: User
    verb: str
    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    dry_run: bool = False
    field_manager: str = ""
    """What managedFields are recorded under; the doors fill in the user agent's first word when nobody says."""
    field_validation: str = ""
    """Strict, Warn or Ignore; "" is the door's default."""
    force: bool = False
    """Server-side apply takes fields over from other managers."""
    field_selector: str = ""
    """Of lists and watches, for the authorizer: kubelets may see their own pods only."""
    label_selector: str = ""
    """The same."""
    path: str = ""
    """What it is about instead of a resource: discovery, health … The verb is then the HTTP method in lower case."""
    repeated: list[str] = field(default_factory=list)
    """Keys that the body has twice and that its JSON does not show any more: it came as YAML."""
    warnings: list[str] = field(default_factory=list)
    """Filled in while the request is served; REST sends them as Warning headers."""
    annotations: dict[str, str] = field(default_factory=dict)
    """What admission notes for the audit log, filled in while the request is served."""
    asked: Kind | None = None
    """The kind whose path was asked for, where `kind` is the one that its objects are stored as."""
    generated: bool = False
    """The server made the name up: admission's webhooks are not to see it before the object is complete."""
    options: Mapping[str, object] = field(default_factory=dict)
    """The CreateOptions, UpdateOptions or DeleteOptions as the client gave them, without apiVersion and kind."""
    reinvocation: Reinvocation = field(default_factory=Reinvocation)
    """Begins anew with each admission."""

    @property
    def asked_name(self) -> str:
        """Which object it is about. A list or watch with the field selector metadata.name=X is about X: rights that
        name objects cover it."""
        if self.name or self.verb not in ("list", "watch") or "metadata.name" not in self.field_selector:
            return self.name
        return self.selected("metadata.name")

    def selected(self, path: str) -> str:
        """The one value that the field selector asks for at a path; "" if it asks for none or not like that."""
        for part in self.field_selector.split(","):
            key, _, value = part.replace("==", "=").partition("=")
            if key == path:
                return value
        return ""

    def warn(self, messages: Iterable[str]) -> None:
        """Each once, however often what it is about is tried."""
        known = set(self.warnings)
        self.warnings += [message for message in messages if message not in known]

    def at(self, **changes: object) -> "Request":
        """The same request about something else, sharing its list of warnings."""
        other = object.__new__(Request)  # what dataclasses.replace does, at a fifth of its price
        for name in Request.__slots__:
            setattr(other, name, changes[name] if name in changes else getattr(self, name))
        return other


@dataclass(frozen=True, slots=True)
class ListOptions:
    """As the query string has them, unparsed; `limit` 0 means no limit."""

    label_selector: str = ""
    field_selector: str = ""
    resource_version: str = ""
    resource_version_match: str = ""
    limit: int = 0
    continue_: str = ""


def page_limit(limit: int, resource_version: str, continue_: str) -> int:
    """How many objects a list may have at most; 0: all.

    Upstream's watch cache hands out whatever is at hand (resourceVersion 0) whole, and clients that ask for it do not
    go on.
    """
    return 0 if resource_version == "0" and not continue_ else max(0, limit)


Sink = Callable[[Sequence["Event"]], bool]
"""Takes events at once, or says False. What is offered to many of them is one object."""


@dataclass(frozen=True, slots=True)
class WatchOptions:
    label_selector: str = ""
    field_selector: str = ""
    resource_version: str = ""
    resource_version_match: str = ""
    bookmarks: bool = False
    send_initial_events: bool | None = None
    """None: as upstream, initial events are sent if resource_version is "" or "0"."""
    timeout_seconds: float = 0.0
    """0: the server chooses between 30 and 60 minutes, as upstream does; at the end the iteration just stops."""
    sink: Sink | None = None
    """Is offered what happens while nothing waits to be iterated over; what it refuses comes that way, in order."""


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    grace_seconds: int | None = None
    uid: str = ""
    resource_version: str = ""
    """Preconditions; "" is none."""
    propagation: str = ""
    """Orphan, Background, Foreground or ""."""
    dry_run: bool = False
    cascading: bool = False
    """`orphanDependents: false` was said, the older way to ask for Background."""

    def shown(self) -> dict[str, object]:
        """As a DeleteOptions document has it, dryRun apart."""
        conditions = {n: v for n, v in (("uid", self.uid), ("resourceVersion", self.resource_version)) if v}
        found: dict[str, object] = {"preconditions": conditions} if conditions else {}
        if self.grace_seconds is not None:
            found["gracePeriodSeconds"] = self.grace_seconds
        return found | ({"propagationPolicy": self.propagation} if self.propagation else {})


_PROPAGATIONS = ("Background", "Foreground", "Orphan")
_delete_options = msgspec.json.Decoder(WireDeleteOptions)


def parse_delete_options(body: bytes) -> DeleteOptions:
    """A DeleteOptions document, or nothing → DeleteOptions.  Raises BadRequest, Invalid."""
    if not body.strip():
        return DeleteOptions()
    try:
        wire = _delete_options.decode(body)
    except msgspec.ValidationError as e:
        raise BadRequest(f"unable to decode DeleteOptions: {e}") from e
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise BadRequest(f"unable to decode DeleteOptions: {syntax.fault_of(body)}") from e
    if wire.kind != "DeleteOptions":
        raise BadRequest(f"decoded object cannot be converted to DeleteOptions: {wire.apiVersion}, Kind={wire.kind}")
    propagation = wire.propagationPolicy or ""
    if wire.orphanDependents is not None:
        if propagation:
            raise BadRequest("orphanDependents and propagationPolicy cannot be set at the same time")
        propagation = "Orphan" if wire.orphanDependents else "Background"
    if any(v != "All" for v in wire.dryRun):
        fault = paths.not_supported(paths.Path("dryRun"), wire.dryRun, ["All"])
        raise paths.refusal("meta.k8s.io", "DeleteOptions", "", [fault])
    check_propagation(propagation)
    conditions = wire.preconditions
    return DeleteOptions(
        grace_seconds=wire.gracePeriodSeconds,
        uid=(conditions.uid or "") if conditions else "",
        resource_version=(conditions.resourceVersion or "") if conditions else "",
        propagation=propagation,
        dry_run="All" in wire.dryRun,
        cascading=wire.orphanDependents is False,
    )


def check_propagation(policy: str) -> None:
    """Raises Invalid for one that there is not; "" is the kind's own."""
    if policy and policy not in _PROPAGATIONS:
        fault = paths.not_supported(paths.Path("propagationPolicy"), policy, [*_PROPAGATIONS, "nil"])
        raise paths.refusal("meta.k8s.io", "DeleteOptions", "", [fault])


class Item(msgspec.Struct, frozen=True, gc=False):
    """One revision of one object: its document, and what lists, selectors and indices ask about."""

    namespace: str
    name: str
    revision: int
    document: bytes
    labels: dict[str, str] = {}
    fields: dict[str, str] = {}
    """The selectable fields of its kind, by their path: metadata.name, spec.nodeName …"""


@dataclass(frozen=True, slots=True)
class Listing:
    resource_version: str
    items: list[Item]
    continue_: str = ""
    remaining: int | None = None
    """How many objects follow this page; None when that is not known (selectors) or nothing follows."""


class Event:
    """One thing that a watch says. ADDED, MODIFIED, DELETED carry the object, BOOKMARK one that has only a
    resourceVersion (and annotations), ERROR a Status, after which nothing comes."""

    __slots__ = ("_line", "_message", "document", "type")

    def __init__(self, type: str, document: bytes) -> None:  # noqa: A002
        self.type = type
        self.document = document
        self._line = b""
        self._message = b""

    def line(self) -> bytes:
        """As REST sends it, newline included; made once for all watchers."""
        if not self._line:
            self._line = b'{"type":"' + self.type.encode() + b'","object":' + self.document + b"}\n"
        return self._line

    def message(self) -> bytes:
        """As gRPC sends it: one encoded `events` field of wherry.v1.WatchEvents; made once for all watchers."""
        if not self._message:
            head = b"\x08" + bytes([EVENT_NUMBERS[self.type]]) + b"\x12" + _varint(len(self.document))
            self._message = b"\x0a" + _varint(len(head) + len(self.document)) + head + self.document
        return self._message

    def __repr__(self) -> str:
        return f"Event({self.type!r}, {self.document!r})"


EVENT_NUMBERS = {"ADDED": 1, "MODIFIED": 2, "DELETED": 3, "BOOKMARK": 4, "ERROR": 5}
"""wherry.v1.WatchEvent.Type"""


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
