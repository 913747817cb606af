"""JSON patch: https://www.rfc-editor.org/rfc/rfc6902, with the leniencies of upstream's library that clients rely on.

Those are negative indices, and a `test` for null that passes where there is nothing.  No library gives both those and
upstream's answers: a patch that cannot be read is a 400, one that cannot be applied a 422 whose message says nothing
(the reason is chained to the exception, for the log).
"""

from collections.abc import Callable
from typing import Any

import msgspec

from api.errors import ApiError, BadRequest, Invalid, TooLarge
from apiserver.patching import documents

MAX_OPERATIONS = 10_000
MAX_COPIED = 3 * 2**20
"""Bytes of JSON that all `copy` operations of one patch may add."""
NOT_APPLICABLE = "the server rejected our request due to an error in our request"
_ABSENT: Any = object()


class Inapplicable(Exception):
    """An operation does not fit the document. Clients get only `NOT_APPLICABLE`, as upstream has it."""


def json_patch(document: dict[str, Any], patch: bytes) -> Any:
    """`document` as the patch makes it.  Raises BadRequest, TooLarge (over 10,000 operations) or Invalid."""
    operations = _read(patch)
    if len(operations) > MAX_OPERATIONS:
        raise TooLarge(f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}")
    target = _Target(documents.copy(document))
    try:
        for operation in operations:
            target.apply(operation)
    except Inapplicable as e:
        raise Invalid(NOT_APPLICABLE) from e
    return target.root


def _read(patch: bytes) -> list[dict[str, Any]]:
    try:
        operations = documents.read(patch)
    except ApiError as e:
        raise BadRequest(e.message.replace("error decoding patch", "error decoding JSON patch")) from e
    if not isinstance(operations, list):
        raise BadRequest(f"json: cannot unmarshal {_go_name(operations)} into Go value of type jsonpatch.Patch")
    for operation in operations:
        if not isinstance(operation, dict):
            raise BadRequest(f"json: cannot unmarshal {_go_name(operation)} into Go value of type jsonpatch.Operation")
    return operations


def _go_name(value: Any) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "bool"}
    return names.get(type(value), "number")


class _Target:
    """A document that is being patched in place."""

    def __init__(self, root: Any) -> None:
        self.root = root
        self.copied = 0
        self.verbs: dict[str, Callable[[dict[str, Any], str], None]] = {
            "add": lambda o, p: self.add(p, _value(o)),
            "remove": lambda _, p: self.remove(p),
            "replace": lambda o, p: self.replace(p, _value(o)),
            "move": self.move,
            "copy": self.copy,
            "test": self.test,
        }

    def apply(self, operation: dict[str, Any]) -> None:
        verb = self.verbs.get(operation.get("op", "")) if isinstance(operation.get("op"), str) else None
        if verb is None:
            raise Inapplicable(f"Unexpected kind: {operation.get('op')}")
        verb(operation, _pointer(operation, "path"))

    def parent(self, path: str) -> tuple[Any, str]:
        """What holds the value at `path`, and under which key."""
        *way, last = _steps(path)
        at = self.root
        for step in way:
            at = _get(at, step, path)
            if at is _ABSENT:
                raise Inapplicable(f"doc is missing path: {path}: missing value")
        return at, last

    def get(self, path: str) -> Any:
        """The value at `path`, _ABSENT if only its last step leads nowhere."""
        if not path:
            return self.root
        at, last = self.parent(path)
        return _get(at, last, path)

    def present(self, path: str) -> Any:
        value = self.get(path)
        if value is _ABSENT:
            raise Inapplicable(f"Unable to access nonexistent key: {path}: missing value")
        return value

    def add(self, path: str, value: Any) -> None:
        if not path:
            self.root = value
            return
        at, last = self.parent(path)
        if isinstance(at, dict):
            at[last] = value
        elif isinstance(at, list):
            at.insert(len(at) if last == "-" else _index(last, len(at) + 1, path), value)
        else:
            raise Inapplicable(f"doc is missing path: {path}: missing value")

    def remove(self, path: str) -> Any:
        value = self.present(path)
        if not path:
            raise Inapplicable("the whole document cannot be removed")
        at, last = self.parent(path)
        del at[last if isinstance(at, dict) else _index(last, len(at), path)]
        return value

    def replace(self, path: str, value: Any) -> None:
        self.present(path)
        if not path:
            self.root = value
            return
        at, last = self.parent(path)
        at[last if isinstance(at, dict) else _index(last, len(at), path)] = value

    def move(self, operation: dict[str, Any], path: str) -> None:
        origin = _pointer(operation, "from")
        if path.startswith(origin + "/"):
            raise Inapplicable(f"{origin} cannot be moved into itself")
        if path == origin:
            self.present(path)
            return
        self.add(path, self.remove(origin))

    def copy(self, operation: dict[str, Any], path: str) -> None:
        text = msgspec.json.encode(self.present(_pointer(operation, "from")))
        self.copied += len(text)
        if self.copied > MAX_COPIED:
            raise Inapplicable(
                "Unable to complete the copy, the accumulated size increase of copy is "
                f"{self.copied}, exceeding the limit {MAX_COPIED}"
            )
        self.add(path, msgspec.json.decode(text))

    def test(self, operation: dict[str, Any], path: str) -> None:
        wanted = operation.get("value")
        found = self.get(path)
        if not same(None if found is _ABSENT else found, wanted):
            raise Inapplicable(f"testing value {path} failed: test failed")


def _value(operation: dict[str, Any]) -> Any:
    if "value" not in operation:
        raise Inapplicable(f"{operation['op']} operation without a value")
    return operation["value"]


def _pointer(operation: dict[str, Any], name: str) -> str:
    pointer = operation.get(name)
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
        raise Inapplicable(f"{operation.get('op')} operation: {name} is not a JSON pointer: {pointer!r}")
    return pointer


def _steps(path: str) -> list[str]:
    return [s.replace("~1", "/").replace("~0", "~") for s in path.split("/")[1:]]


def _get(container: Any, step: str, path: str) -> Any:
    if isinstance(container, dict):
        return container.get(step, _ABSENT)
    if isinstance(container, list):
        return container[_index(step, len(container), path)]
    return _ABSENT


def _index(step: str, length: int, path: str) -> int:
    digits = step.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or (len(digits) > 1 and digits.startswith("0")):
        raise Inapplicable(f"invalid array index {step!r} in {path}")
    at = int(step) if len(digits) < 10 else length
    if not -length <= at < length:
        raise Inapplicable(f"Unable to access invalid index: {step}: invalid index referenced")
    return at + length if at < 0 else at


def same(a: Any, b: Any) -> bool:
    """Whether two JSON values are equal: 1 and 1.0 are, 1 and true are not."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(v, b[k]) for k, v in a.items())
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return isinstance(a, bool) == isinstance(b, bool) and a == b
