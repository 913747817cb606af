"""Processes that are killed, frozen or restarted."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.chaos.faults.kinds import Kind, each
from tests.chaos.faults.parts import NODE_NAMES, Parts, Target
from wherry import masters

DNS = ("cluster-dns", "cluster-dns1")
SHORT = (1, 8)


@contextmanager
def killed(parts: Parts, target: Target) -> Iterator[None]:
    """The engine takes it for a wish, and starts nothing anew by itself."""
    struck = parts.services(target)
    for container in struck:
        container.kill()
    yield
    for container in struck:
        container.start()


@contextmanager
def frozen(parts: Parts, target: Target) -> Iterator[None]:
    """It keeps its connections, and says nothing."""
    struck = parts.services(target)
    for container in struck:
        container.pause()
    yield
    for container in struck:
        container.unpause()


@contextmanager
def restarted(parts: Parts, target: Target) -> Iterator[None]:
    for container in parts.services(target):
        container.restart(timeout=10)
    yield


def _kinds() -> Iterator[Kind]:
    verbs = {"kill": killed, "freeze": frozen, "restart": restarted}
    for part in masters.SEVERAL:
        for verb, strike in verbs.items():
            yield Kind(f"{verb} {part}", strike, each(*masters.names(part)), SHORT)
    for part in ("kubelet", "kube-proxy"):
        for verb in ("kill", "freeze"):
            yield Kind(f"{verb} {part}", verbs[verb], each(*(f"{node}-{part}" for node in NODE_NAMES)), SHORT)
    for verb, strike in verbs.items():
        yield Kind(f"{verb} balancer", strike, each(masters.BALANCER), SHORT, stops_writes=True)
    for verb in ("kill", "restart"):
        yield Kind(f"{verb} cluster-dns", verbs[verb], each(*DNS), SHORT)


KINDS = tuple(_kinds())
