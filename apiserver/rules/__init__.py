"""What every kind must look like: decoding, defaults, validation, and what each verb may set.

Pure functions from objects to objects and faults: no I/O, no clock, no caches of objects.  The order on a write is
`decode`, `default`, mutating admission, `prepare_create` or `prepare_update`, then `validate` or `validate_update`;
`api.paths.refusal` turns their faults into the one 422 that names them all.

    decoding      bytes → Struct, in Go's words where they cannot be
    defaulting    what upstream's SetDefaults_* functions fill in
    strategies    which parts of an object a verb may set; metadata.generation
    validation    upstream's rules, with its field paths, messages and order
    warnings      what is valid and yet is probably not meant
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from api.kinds import Kind
from api.paths import Fault
from apiserver.customs import objects as customs
from apiserver.rules import decoding, defaulting, strategies
from apiserver.rules import validation as validating
from apiserver.rules import warnings as warning

__all__ = ["decode", "default", "prepare_create", "prepare_update", "validate", "validate_update", "warnings"]

MOST = 1000
"""Faults, and warnings, that are told of one object. No more are looked for: a client may make a hundred thousand, and
each of them is work for which all others wait."""
LARGEST = 2**20
"""Characters of faults from which on no more are looked for: there are some that show a whole list, for each of its
items that should not be there."""


def decode(kind: Kind, document: bytes, *, validation: str = "", repeated: Sequence[str] = ()) -> tuple[Any, list[str]]:
    """The object in a document that was sent to the path of `kind`, and the warnings about it.

    `validation` is Strict, Warn or Ignore ("" is Warn, as upstream): what to do about fields that are unknown or given
    twice; `repeated` says of which that is known already.  Raises BadRequest.
    """
    read = customs.decode if kind.custom else decoding.decode
    if not repeated or validation == "Ignore":
        return read(kind, document, validation=validation)
    obj, warnings = read(kind, document, validation="Warn")
    if validation == "Strict":
        if repeated[0].startswith("line "):  # of a YAML document
            repeated = ["\n  ".join(["yaml: unmarshal errors:", *repeated])]
        raise decoding.unfit(kind, "strict decoding error: " + ", ".join([*repeated, *warnings]))
    return obj, [*repeated, *warnings]


def default(kind: Kind, obj: Any) -> None:
    """Fill in the defaults of `obj` in place. Doing it twice changes nothing more."""
    (customs if kind.custom else defaulting).default(kind, obj)


def prepare_create(kind: Kind, obj: Any) -> None:
    """Take out of a new object what its creator may not set."""
    (customs if kind.custom else strategies).prepare_create(kind, obj)


def prepare_update(kind: Kind, new: Any, old: Any, subresource: str = "") -> None:
    """Put back into `new` what a write to that subresource ("" is the object itself) leaves alone.

    `new` shares parts of `old` afterwards: it is for validating and encoding, no longer for changing.
    """
    (customs if kind.custom else strategies).prepare_update(kind, new, old, subresource)


def validate(kind: Kind, obj: Any) -> list[Fault]:
    """What is wrong with a new object; empty if nothing."""
    return _first((customs if kind.custom else validating).validate(kind, obj))


def validate_update(kind: Kind, new: Any, old: Any, subresource: str = "") -> list[Fault]:
    """What is wrong with `new` in the place of `old`, both as `prepare_update` left them; empty if nothing."""
    return _first((customs if kind.custom else validating).validate_update(kind, new, old, subresource))


def _first(faults: Iterable[Fault]) -> list[Fault]:
    found: list[Fault] = []
    size = 0
    for fault in islice(faults, MOST):
        found.append(fault)
        size += len(fault.message)
        if size > LARGEST:
            break
    return found


def warnings(kind: Kind, new: Any, old: Any | None) -> list[str]:
    """What to tell the writer of a valid object, in the place of `old` if there is one."""
    return list(islice(customs.warnings(new, old) if kind.custom else warning.about(kind, new, old), MOST))
