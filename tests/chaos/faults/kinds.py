"""What a kind of fault is, and one fault of it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from tests.chaos.faults.parts import Parts, Target


class Wrong(Exception):
    """What a fault has found out itself, and must not be: raised when it is healed."""


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    """What is done: a verb and the part of the lab, for the table."""
    strike: Callable[[Parts, Target], AbstractContextManager[None]]
    """Injects the fault when it is entered, in a thread, and heals it when it is left. Raises Wrong."""
    targets: tuple[Target, ...]
    """Whom it may strike: one of these is drawn."""
    seconds: tuple[float, float]
    """How long it stays, at least and at most."""
    ends_containers: bool = False
    """Whether pods' containers may end by it."""
    stops_writes: bool = False
    """Whether no write need be answered for as long as it stays."""
    needs: Target = ()
    """Parts that it does not strike, and that must be well meanwhile or are disturbed by it."""


@dataclass(frozen=True, slots=True)
class Fault:
    kind: Kind
    target: Target
    seconds: float
    after: float = 0
    """Seconds between the beginning of the one that it comes with, and its own."""

    def areas(self) -> set[str]:
        """What of the lab it concerns: a node with all that belongs to it, etcd as a whole, a single server."""
        names = (*self.target, *self.kind.needs)
        return {"etcd" if "etcd" in name else name.split("-")[0] if name[:4] == "node" else name for name in names}


def each(*names: str) -> tuple[Target, ...]:
    """One of them at a time."""
    return tuple((name,) for name in names)
