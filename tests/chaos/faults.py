"""What is done to the lab, drawn from a seed, and how it is undone."""

import ssl
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import docker
from docker.models.containers import Container

from tests.chaos.doors import SPACE
from wherry import cutting, masters, powering
from wherry.labs import CLUSTER_LABEL, NODE_LABEL, Lab

NODES = 3
LEADER = "the etcd leader"
DNS = ["cluster-dns", "cluster-dns1"]


@dataclass(frozen=True, slots=True)
class Fault:
    kind: str
    """What is done: a verb and the part of the lab, for the table."""
    act: str
    target: str
    seconds: float
    """How long it stays."""
    ends_containers: bool = False
    """Whether pods' containers may end by it."""


def plan(seed: int) -> Iterator[Fault]:
    """Without an end: every kind once, in an order of chance, and then all of them again."""
    chance = Random(seed)
    nodes = [f"node{number}" for number in range(1, NODES + 1)]
    kinds: list[tuple[str, str, list[str], tuple[float, float]]] = []
    for part in masters.SEVERAL:
        kinds += [(f"{act} {part}", act, masters.names(part), (1, 8)) for act in ("kill", "freeze", "restart")]
    kinds += [(f"{act} etcd leader", act, [LEADER], (1, 8)) for act in ("kill", "freeze")]
    for part in ("kubelet", "kube-proxy"):
        kinds += [(f"{act} {part}", act, [f"{n}-{part}" for n in nodes], (1, 8)) for act in ("kill", "freeze")]
    kinds += [(f"{act} cluster-dns", act, DNS, (1, 8)) for act in ("kill", "restart")]
    kinds += [("cut node", "cut", nodes, (3, 20)), ("cut node in", "cut in", nodes, (3, 20))]
    kinds += [("cut node out", "cut out", nodes, (3, 20)), ("cut node long", "cut long", nodes, (50, 55))]
    kinds += [("stop node", "stop", nodes, (2, 10)), ("kill pause", "kill pause", nodes, (0, 0))]
    ending = {"cut long", "stop", "kill pause"}
    while True:
        for kind, act, targets, (least, most) in chance.sample(kinds, len(kinds)):
            yield Fault(kind, act, chance.choice(targets), chance.uniform(least, most), act in ending)


class Faults:
    """Does and undoes them, one at a time."""

    def __init__(self, lab: Lab, docker_engine: docker.DockerClient) -> None:
        self._lab, self._engine = lab, docker_engine

    def settle(self, fault: Fault) -> str:
        """Whom it will strike: the leader of the moment, if that is asked for."""
        return self.leader() if fault.target == LEADER else fault.target

    def inject(self, fault: Fault, target: str) -> None:
        match fault.act:
            case "kill":
                self._container(target).kill()
            case "freeze":
                self._container(target).pause()
            case "restart":
                self._container(target).restart(timeout=10)
            case "stop":
                powering.stop(self._engine, self._lab, target)
            case "kill pause":
                self._kill_pause(target)
            case _:
                _, _, way = fault.act.partition(" ")
                one_way = cutting.Way(way) if way in {*cutting.Way} else None
                cutting.cut(self._engine, self._lab, target, one_way)

    def heal(self, fault: Fault, target: str) -> None:
        match fault.act:
            case "kill":
                self._container(target).start()
            case "freeze":
                self._container(target).unpause()
            case "restart" | "kill pause":
                pass
            case "stop":
                powering.start(self._engine, self._lab, target)
            case _:
                cutting.mend(self._engine, self._lab, target)

    def leader(self) -> str:
        """The etcd member that leads, by what its metrics say."""
        own = self._lab.pki / "apiserver"
        tls = ssl.create_default_context(cafile=str(own / "etcd-ca.crt"))
        tls.load_cert_chain(own / "etcd-client.crt", own / "etcd-client.key")
        for number, name in enumerate(masters.names("etcd")):
            url = f"https://{self._lab.network}.{masters.FIRST_ADDRESS['etcd'] + number}:2379/metrics"
            with urllib.request.urlopen(url, context=tls, timeout=5) as answer:
                if b"\netcd_server_is_leader 1\n" in answer.read():
                    return name
        raise RuntimeError("no etcd member leads")

    def containers(self) -> set[str]:
        """The ids of those of the workload's pods that run."""
        wanted = [f"{CLUSTER_LABEL}={self._lab.name}", f"io.kubernetes.pod.namespace={SPACE}"]
        found = self._engine.containers.list(filters={"label": wanted}, ignore_removed=True)
        return {str(c.id) for c in found}

    def _kill_pause(self, node: str) -> None:
        wanted = [f"{NODE_LABEL}={node}", f"{CLUSTER_LABEL}={self._lab.name}", "io.wherry.kind=pause"]
        wanted.append(f"io.kubernetes.pod.namespace={SPACE}")
        found = self._engine.containers.list(filters={"label": wanted}, ignore_removed=True)
        if found:
            min(found, key=lambda c: str(c.name)).kill()

    def _container(self, service: str) -> Container:
        return self._engine.containers.get(self._lab.container(service))
