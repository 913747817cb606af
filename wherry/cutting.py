"""`wherry node cut` and `mend`: packets between a node and the control plane are lost, all others are not.

The rules stand in the node's own network namespace, in a table of their own, so they go with the namespace too.
"""

from enum import StrEnum

import docker
from docker.models.containers import Container

from wherry.labs import Lab
from wherry.nodes import Node, find

TABLE = "inet wherry-cut"
CONTROL_PLANE = "{0}.10-{0}.49, {0}.60"
"""What compose.yaml gives to etcd, API servers, controller managers, schedulers, and to the balancer before them."""


class Way(StrEnum):
    IN = "in"
    OUT = "out"


def rules(network: str, ways: tuple[Way, ...]) -> str:
    """What nft is to do. Pure.

    Packets are judged where they enter and leave the namespace, so the pods' are, too: those to the Service
    `kubernetes` have an API server's address by then.
    """
    addresses = CONTROL_PLANE.format(network)
    chains = {
        Way.IN: f"chain in {{ type filter hook prerouting priority raw; ip saddr {{ {addresses} }} drop; }};",
        Way.OUT: f"chain out {{ type filter hook postrouting priority 300; ip daddr {{ {addresses} }} drop; }};",
    }
    return f"table {TABLE} {{ {' '.join(chains[way] for way in ways)} }}"


def cut(docker_engine: docker.DockerClient, lab: Lab, name: str, one_way: Way | None = None) -> str:
    """One way: what comes `in` to the node is lost, or what goes `out`. Raises Trouble."""
    node, inside = _reached(docker_engine, lab, name)
    if _is_cut(inside):
        raise node.trouble("it is cut off", f"`wherry node mend {name}` mends it.")
    _nft(node, inside, rules(lab.network, (one_way,) if one_way else tuple(Way)))
    told = {None: "", Way.IN: ": nothing comes in", Way.OUT: ": nothing goes out"}[one_way]
    return f"node {name} is cut off from the control plane{told}"


def mend(docker_engine: docker.DockerClient, lab: Lab, name: str) -> str:
    """Raises Trouble."""
    node, inside = _reached(docker_engine, lab, name)
    if not _is_cut(inside):
        raise node.trouble("it is not cut off", f"`wherry node cut {name}` cuts it off.")
    _nft(node, inside, f"delete table {TABLE}")
    return f"node {name} reaches the control plane again"


def _reached(docker_engine: docker.DockerClient, lab: Lab, name: str) -> tuple[Node, Container]:
    """The node, and a container of it that runs and shares its network."""
    node = find(docker_engine, lab, name)
    for container in node.components:
        if container.status == "running":
            return node, container
    raise node.trouble("it is stopped", f"`wherry node start {name}` starts it.")


def _is_cut(inside: Container) -> bool:
    """By the exit code, since what a command writes as its last may be lost on its way through the engine."""
    return inside.exec_run(["nft", "list", "table", *TABLE.split()]).exit_code == 0


def _nft(node: Node, inside: Container, command: str) -> None:
    code, output = inside.exec_run(["nft", command])
    assert isinstance(output, bytes)  # an iterator only where a stream was asked for
    if code:
        said = output.decode(errors="replace").strip()
        raise node.trouble(f"`nft {command}` failed: {said}", f"See `docker logs {inside.name}`.")
