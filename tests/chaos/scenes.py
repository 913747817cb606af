"""The lab as it is at a moment, told for `invariants`; and the wait until nothing in it is wrong any more."""

import time

import docker
from docker.errors import APIError

from tests.chaos.invariants import Container, Object, Scene, violations
from wherry.kubectl import Kubectl
from wherry.labs import CLUSTER_LABEL, NODE_LABEL, Lab, node_names
from wherry.troubles import Trouble

KINDS = "nodes,pods,deployments,statefulsets,daemonsets,services,endpointslices"
LOOK = 0.5
"""Nothing tells when containers and wires are as they should be, so the lab is looked at, this often (seconds)."""
PATIENCE = 120
"""Seconds in which a lab that is left alone must have recovered."""


def look(lab: Lab, docker_engine: docker.DockerClient, nodes: int) -> Scene:
    """Raises Trouble while the API or a node cannot be asked."""
    items = Kubectl(lab).json("get", KINDS, "--all-namespaces")["items"]

    def of(*kinds: str) -> list[Object]:
        return [item for item in items if item["kind"] in kinds]

    return Scene(
        of("Node"), of("Pod"), of("Deployment", "StatefulSet", "DaemonSet"), of("Service"), of("EndpointSlice"),
        _containers(lab, docker_engine), {name: _wires(lab, docker_engine, name) for name in node_names(nodes)},
    )  # fmt: skip


def recovered(lab: Lab, docker_engine: docker.DockerClient, nodes: int) -> list[str]:
    """What is still wrong after `PATIENCE`; nothing as soon as nothing is."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            wrong = [*violations(look(lab, docker_engine, nodes))]
        except Trouble as trouble:
            wrong = [str(trouble)]
        if not wrong or time.monotonic() > end:
            return wrong
        time.sleep(LOOK)


def _containers(lab: Lab, docker_engine: docker.DockerClient) -> dict[str, Container]:
    ours: dict[str, str | list[str] | bool] = {"label": f"{CLUSTER_LABEL}={lab.name}"}
    found = {}
    for each in docker_engine.containers.list(all=True, filters=ours, ignore_removed=True):
        told = each.labels
        names = (told[f"io.kubernetes.{key}"] for key in ("pod.namespace", "pod.name", "container.name"))
        found[str(each.id)] = Container(
            told["io.kubernetes.pod.uid"], "/".join(names), told[NODE_LABEL],
            each.status == "running", told["io.wherry.kind"] == "pause",
        )  # fmt: skip
    return found


def _wires(lab: Lab, docker_engine: docker.DockerClient, node: str) -> int:
    try:
        inside = docker_engine.containers.get(lab.container(f"{node}-kubelet"))
        code, output = inside.exec_run(["ip", "-o", "link", "show", "type", "veth"])
    except APIError as e:
        raise Trouble(f"node {node}", "its kubelet's container does not run", str(e)) from e
    assert isinstance(output, bytes)  # an iterator only where a stream was asked for
    if code:
        raise Trouble(f"node {node}", "its wires cannot be listed", output.decode(errors="replace"))
    # The node's own end of its wire to the lab's network is one, too, but it is called eth0.
    return sum(": veth" in line for line in output.decode().splitlines())
