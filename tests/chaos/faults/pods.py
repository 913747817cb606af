"""What a node has made for its pods, taken away behind its back."""

from collections.abc import Iterator
from contextlib import contextmanager

from docker.models.containers import Container

from kube_proxy.rules import TABLE
from tests.chaos.faults.kinds import Kind
from tests.chaos.faults.nodes import NODES
from tests.chaos.faults.parts import Parts, Target
from wherry.labs import NODE_LABEL


@contextmanager
def pause_killed(parts: Parts, target: Target) -> Iterator[None]:
    for container in _of(parts, target, "pause"):
        container.kill()
    yield


@contextmanager
def container_removed(parts: Parts, target: Target) -> Iterator[None]:
    for container in _of(parts, target, "container"):
        container.remove(force=True)
    yield


@contextmanager
def sandbox_removed(parts: Parts, target: Target) -> Iterator[None]:
    for container in _of(parts, target, "pause"):
        container.remove(force=True)
    yield


@contextmanager
def rules_flushed(parts: Parts, target: Target) -> Iterator[None]:
    """Services answer nowhere on the node, until its proxy looks."""
    for node in target:
        (proxy,) = parts.services((f"{node}-kube-proxy",))
        code, output = proxy.exec_run(["nft", f"flush table ip {TABLE}"])
        assert not code, output
    yield


def _of(parts: Parts, target: Target, kind: str) -> Iterator[Container]:
    """One of the workload's on each node, the same again with the same pods."""
    for node in target:
        if found := parts.pods_containers(f"{NODE_LABEL}={node}", f"io.wherry.kind={kind}"):
            yield min(found, key=lambda c: str(c.name))


KINDS = (
    Kind("kill pause", pause_killed, NODES, (0, 0), ends_containers=True),
    Kind("remove container", container_removed, NODES, (0, 0), ends_containers=True),
    Kind("remove sandbox", sandbox_removed, NODES, (0, 0), ends_containers=True),
    Kind("flush rules", rules_flushed, NODES, (0, 0)),
)
