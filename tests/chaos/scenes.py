"""The lab as it is at a moment, told for `invariants`; and the wait until nothing in it is wrong any more."""

import time
from pathlib import Path

import docker
from docker.errors import APIError

from tests.chaos.faults.parts import Parts
from tests.chaos.invariants import Container, Object, Scene, violations
from tests.chaos.remains import PROGRAM, Remains, parsed
from wherry.kubectl import Kubectl
from wherry.labs import CLUSTER_LABEL, NODE_LABEL, Lab, node_names
from wherry.troubles import Trouble

KINDS = "nodes,pods,deployments,statefulsets,daemonsets,services,endpointslices"
LOOK = 0.5
"""Nothing tells when containers and wires are as they should be, so the lab is looked at, this often (seconds)."""
PATIENCE = 120
"""Seconds in which a lab that is left alone must have recovered."""
SLOW = 10
"""After so many seconds it is worth telling what was waited for."""


def look(lab: Lab, docker_engine: docker.DockerClient, nodes: int) -> Scene:
    """Raises Trouble while the API or a node cannot be asked."""
    items = Kubectl(lab).json("get", KINDS, "--all-namespaces")["items"]

    def of(*kinds: str) -> list[Object]:
        return [item for item in items if item["kind"] in kinds]

    return Scene(
        of("Node"), of("Pod"), of("Deployment", "StatefulSet", "DaemonSet"), of("Service"), of("EndpointSlice"),
        _containers(lab, docker_engine), {name: _remains(lab, docker_engine, name) for name in node_names(nodes)},
    )  # fmt: skip


def recovered(parts: Parts, nodes: int) -> list[str]:
    """What is still wrong after `PATIENCE`; nothing as soon as nothing is."""
    begun, wrong = time.monotonic(), [""]
    while True:
        last, waited = wrong, time.monotonic() - begun
        try:
            wrong = [*_unwell(parts), *violations(look(parts.lab, parts.engine, nodes))]
        except Trouble as trouble:
            wrong = [str(trouble)]
        if not wrong and waited > SLOW:
            parts.note(f"until {waited:.0f} s after the healing: {last[0]}")
        if not wrong or waited > PATIENCE:
            return wrong
        time.sleep(LOOK)


def _unwell(parts: Parts) -> list[str]:
    """Servers of which others take the work, so that nothing else tells of it."""
    return [*parts.members.unwell(), *(f"API server {name} is not ready" for name in parts.unready())]


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


def _remains(lab: Lab, docker_engine: docker.DockerClient, node: str) -> Remains:
    root, group = lab.data / "kubelet" / node, f"/sys/fs/cgroup/{_hierarchy()}{lab.name}/{node}"
    try:
        inside = docker_engine.containers.get(lab.container(f"{node}-kubelet"))
        code, output = inside.exec_run(["python3", "-c", PROGRAM, str(root), group])
    except APIError as e:
        raise Trouble(f"node {node}", "its kubelet's container does not run", str(e)) from e
    assert isinstance(output, bytes)  # an iterator only where a stream was asked for
    if code:
        raise Trouble(f"node {node}", "it cannot be looked at", output.decode(errors="replace"))
    try:
        return parsed(output)
    except ValueError as e:
        # What a command writes as its last may be lost on its way through the engine.
        raise Trouble(f"node {node}", "what it holds was told by halves", output.decode(errors="replace")) from e


def _hierarchy() -> str:
    """Of a kernel with several, the one that every pod is in."""
    return "memory/" if Path("/sys/fs/cgroup/memory").is_dir() else ""
