"""Packets between parts that are lost or late: rules in the parts' own network namespaces, and in nobody else's."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import permutations
from pathlib import Path
from typing import Any

from docker.models.containers import Container

from tests.chaos.faults.kinds import Kind, each
from tests.chaos.faults.parts import LOOK, NODE_NAMES, Parts, Target
from wherry import images, masters

LOST = 20
"""Of a hundred packets, each way."""
SECONDS, JITTER = "0.2", "0.05"
TABLE = "inet wherry-chaos"
IN, OUT = "type filter hook prerouting priority -300;", "type filter hook postrouting priority 300;"
DELAYING = Path(__file__).with_name("delaying.py")
LONGER = (5, 15)
READY_SECONDS = 20


@contextmanager
def lossy(parts: Parts, target: Target) -> Iterator[None]:
    chance = f"numgen random mod 100 < {LOST} drop;"
    rules = f'chain in {{ {IN} iifname "eth0" {chance} }}; chain out {{ {OUT} oifname "eth0" {chance} }};'
    with _ruled(parts, target, rules):
        yield


@contextmanager
def late(parts: Parts, target: Target) -> Iterator[None]:
    """What comes in comes a fifth of a second later, and not always in its order."""
    with ExitStack() as stack:
        for name in target:
            holding = _beside(
                parts, name, "python3", ["-c", DELAYING.read_text(), SECONDS, JITTER], detach=True,
                devices=["/dev/net/tun"],
            )  # fmt: skip
            stack.callback(holding.remove, force=True)
            _wait(holding)
            stack.enter_context(_ruled(parts, (name,), f'chain in {{ {IN} iifname "eth0" drop; }};'))
        yield


def _wait(holding: Container) -> None:
    """Until it holds packets back.  (A stream of its log would be a line, and leaves its socket open.)"""
    end = time.monotonic() + READY_SECONDS
    while (said := holding.logs().decode().strip()) != "ready":
        if time.monotonic() > end:
            raise RuntimeError(f"packets cannot be held back: {said}")
        time.sleep(LOOK)


@contextmanager
def mute(parts: Parts, target: Target) -> Iterator[None]:
    """The first says what it wants, and the others do not hear it.

    The rules stand where the others are: a part that loses its lease ends, and begins anew in another namespace.
    """
    speaker, *others = target
    with _ruled(parts, tuple(others), f"chain in {{ {IN} ip saddr {_address(parts, speaker)} drop; }};"):
        yield


@contextmanager
def deaf(parts: Parts, target: Target) -> Iterator[None]:
    """The first does not hear what the others say."""
    hearer, *others = target
    with _ruled(parts, tuple(others), f"chain out {{ {OUT} ip daddr {_address(parts, hearer)} drop; }};"):
        yield


@contextmanager
def _ruled(parts: Parts, target: Target, rules: str) -> Iterator[None]:
    for name in target:
        _nft(parts, name, f"table {TABLE} {{ {rules} }}")
    yield
    for name in target:
        # Added first: with a part that was started anew the table has gone.
        _nft(parts, name, f"add table {TABLE}; delete table {TABLE}")


def _nft(parts: Parts, name: str, command: str) -> None:
    """Raises docker.errors.ContainerError with what nft said."""
    _beside(parts, name, "nft", [command], remove=True)


def _beside(parts: Parts, name: str, program: str, arguments: list[str], **more: Any) -> Container:
    """A container that shares the part's network and may change it, as the part itself may not."""
    (struck,) = parts.services((name,))
    made: Container = parts.engine.containers.run(
        f"wherry/component:{images.TAG}", arguments, entrypoint=program, network_mode=f"container:{struck.id}", cap_drop=["ALL"],
        cap_add=["NET_ADMIN", "NET_RAW"], **more,
    )  # fmt: skip
    return made


def _address(parts: Parts, name: str) -> str:
    (struck,) = parts.services((name,))
    (network,) = struck.attrs["NetworkSettings"]["Networks"].values()
    return str(network["IPAddress"])


ETCD, SERVERS = masters.names("etcd"), masters.names("apiserver")
LINES = (*ETCD, *SERVERS, *NODE_NAMES)


def _kinds() -> Iterator[Kind]:
    yield Kind("lose packets", lossy, each(*LINES), LONGER)
    yield Kind("delay packets", late, each(*LINES), LONGER)
    for verb, strike in (("mute", mute), ("deafen", deaf)):
        yield Kind(f"{verb} etcd, etcd", strike, tuple(permutations(ETCD, 2)), LONGER)
        yield Kind(f"{verb} apiserver, etcd", strike, tuple((s, e) for s in SERVERS for e in ETCD), LONGER)
        for part in ("controller-manager", "scheduler"):
            to_one = tuple((name, server) for name in masters.names(part) for server in SERVERS)
            to_all = tuple((name, *SERVERS) for name in masters.names(part))
            yield Kind(f"{verb} {part}", strike, to_one + to_all, LONGER)


KINDS = tuple(_kinds())
