"""`wherry node …`: a node of the lab as its three containers, and the commands that do something to it on purpose."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import docker
from docker.models.containers import Container

from wherry import diagnoses, engine
from wherry.labs import CLUSTER_LABEL, NODE_LABEL, Lab
from wherry.locks import alone
from wherry.outcomes import told
from wherry.troubles import Trouble


@dataclass(frozen=True, slots=True)
class Node:
    """As it was when it was looked up."""

    name: str
    holder: Container
    """Has the network namespace that the others share."""
    kubelet: Container
    proxy: Container

    @property
    def components(self) -> tuple[Container, Container]:
        return self.kubelet, self.proxy

    @property
    def parts(self) -> tuple[Container, ...]:
        """In the order in which they start."""
        return self.holder, *self.components

    def trouble(self, reason: str, advice: str) -> Trouble:
        return Trouble(f"node {self.name}", reason, advice=advice)


def find(docker_engine: docker.DockerClient, lab: Lab, name: str) -> Node:
    """Raises Trouble if the lab has no node of that name."""
    services = diagnoses.services(docker_engine, lab)
    names = known(services)
    if not names:
        raise Trouble("lab", "it is not up", advice="scripts/up brings it up.")
    if name not in names:
        raise Trouble(f"node {name}", "the lab has no such node", advice=f"Its nodes: {', '.join(names)}.")
    return Node(name, services[name], services[f"{name}-kubelet"], services[f"{name}-kube-proxy"])


def known(services: Iterable[str]) -> list[str]:
    """The nodes among the lab's services, node2 before node10."""
    there = set(services)
    return sorted((s for s in there if f"{s}-kubelet" in there), key=lambda s: (len(s), s))


def pods_containers(docker_engine: docker.DockerClient, lab: Lab, node: str) -> list[Container]:
    """Those of the node's pods that have not ended."""
    ours: dict[str, str | list[str] | bool] = {"label": [f"{CLUSTER_LABEL}={lab.name}", f"{NODE_LABEL}={node}"]}
    return list(docker_engine.containers.list(filters=ours, ignore_removed=True))


def main(lab: Lab, name: str, act: Callable[[docker.DockerClient, Lab, str], str]) -> int:
    """An exit code, as `outcomes.told`."""

    def work() -> str:
        with alone(lab):
            return act(engine.client(), lab, name)

    return told(work)
