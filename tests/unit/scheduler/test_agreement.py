"""The vectorised scheduler agrees with the plain one, node by node and point by point, on clusters of every kind."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.types import (
    Affinity,
    ContainerPort,
    LabelSelector,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    Pod,
    PodAffinity,
    PodAffinityTerm,
    PodAntiAffinity,
    PreferredSchedulingTerm,
    TopologySpreadConstraint,
    WeightedPodAffinityTerm,
)
from scheduler.decisions import explain, schedule
from scheduler.profiles import DEFAULT
from scheduler.snapshots import Snapshot
from scheduler.wishes import HOSTNAME, ZONE, wish
from tests.unit.scheduler import brute_force
from tests.unit.scheduler.brute_force import Cluster
from tests.unit.scheduler.objects import container, node, pod, taint, tolerating

# Few of everything, so that things meet.
NAMESPACES = {"default": {"team": "a"}, "other": {"team": "b"}}
GPU = "example.com/gpu"
APPS, TRACKS, KEYS = ("web", "db"), ("x", "y"), (HOSTNAME, ZONE, "rack")
WEIGHTS = {name: weight for name, weight, _ in DEFAULT.scores}


class Dice:
    """What a random cluster is made by."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def yes(self, chance: float) -> bool:
        return self._random.random() < chance

    def one(self, *of: Any) -> Any:
        return self._random.choice(of)

    def some(self, make: Any, most: int) -> list[Any]:
        return [make() for _ in range(self._random.randint(0, most))]

    def node(self, number: int) -> Any:
        labels = {key: self.one("a", "b", "c") for key in (ZONE, "rack") if self.yes(0.85)}
        if self.yes(0.5):
            labels["size"] = self.one("1", "5", "x")
        found = node(
            f"n{number}", cpu=self.one("1", "2", "4", "0"), memory=self.one("1Gi", "2Gi", "4Gi"),
            pods=self.one("2", "5", "110"), labels=labels,
            taints=self.some(lambda: taint(self.one("k", "l"), self.one("NoSchedule", "NoExecute", "PreferNoSchedule"), self.one("", "v")), 2) if self.yes(0.3) else [],
            unschedulable=self.yes(0.1), **({GPU: "2"} if self.yes(0.3) else {}),
        )  # fmt: skip
        if self.yes(0.1):
            del found.metadata.labels[HOSTNAME]
        return found

    def pod(self, name: str) -> Pod:
        containers = [self.container() for _ in range(self.one(1, 1, 2))]
        return pod(
            name, namespace=self.one(*NAMESPACES), labels={"app": self.one(*APPS), "track": self.one(*TRACKS)},
            containers=containers, tolerations=self.some(self.toleration, 2) if self.yes(0.4) else [],
            nodeSelector={"rack": self.one("a", "b")} if self.yes(0.1) else {}, affinity=self.affinity(),
            topologySpreadConstraints=self.some(self.constraint, 2) if self.yes(0.3) else [],
        )  # fmt: skip

    def container(self) -> Any:
        requests = {"cpu": self.one("100m", "500m", "1")} if self.yes(0.8) else {}
        requests |= {"memory": self.one("100Mi", "512Mi", "1Gi")} if self.yes(0.8) else {}
        requests |= {GPU: self.one("0", "1")} if self.yes(0.1) else {}
        port = ContainerPort(containerPort=80, hostPort=self.one(80, 81), protocol=self.one("TCP", "UDP", ""))
        port.hostIP = self.one("", "127.0.0.1", "127.0.0.2")
        return container(ports=[port] if self.yes(0.15) else [], **requests)

    def toleration(self) -> Any:
        effect = self.one("", "NoSchedule", "NoExecute", "PreferNoSchedule")
        if self.yes(0.5):
            return tolerating(self.one("k", "l", "", "node.kubernetes.io/unschedulable"), "Exists", effect=effect)
        return tolerating(self.one("k", "l"), self.one("Equal", ""), self.one("", "v"), effect)

    def affinity(self) -> Affinity | None:
        if not self.yes(0.5):
            return None
        return Affinity(
            nodeAffinity=self.node_affinity() if self.yes(0.4) else None,
            podAffinity=self.pod_affinity(PodAffinity) if self.yes(0.4) else None,
            podAntiAffinity=self.pod_affinity(PodAntiAffinity) if self.yes(0.4) else None,
        )

    def node_affinity(self) -> NodeAffinity:
        found = NodeAffinity()
        if self.yes(0.5):
            terms = [self.node_term() for _ in range(self.one(1, 2))]
            found.requiredDuringSchedulingIgnoredDuringExecution = NodeSelector(nodeSelectorTerms=terms)
        found.preferredDuringSchedulingIgnoredDuringExecution = self.some(
            lambda: PreferredSchedulingTerm(weight=self.one(1, 7, 50), preference=self.node_term()), 2
        )
        return found

    def node_term(self) -> NodeSelectorTerm:
        return NodeSelectorTerm(matchExpressions=self.some(self.requirement, 2))

    def requirement(self) -> NodeSelectorRequirement:
        operator = self.one("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")
        if operator in ("Gt", "Lt"):
            return NodeSelectorRequirement(key="size", operator=operator, values=["3"])
        values = [self.one("a", "b"), "c"] if operator in ("In", "NotIn") else []
        return NodeSelectorRequirement(key=self.one(ZONE, "rack", "none"), operator=operator, values=values)

    def pod_affinity(self, kind: Any) -> Any:
        return kind(
            requiredDuringSchedulingIgnoredDuringExecution=self.some(self.term, 2) if self.yes(0.5) else [],
            preferredDuringSchedulingIgnoredDuringExecution=self.some(
                lambda: WeightedPodAffinityTerm(weight=self.one(1, 10, 99), podAffinityTerm=self.term()), 2
            ),
        )

    def selector(self) -> LabelSelector | None:
        return None if self.yes(0.05) else LabelSelector(matchLabels={"app": self.one(*APPS)} if self.yes(0.9) else {})

    def term(self) -> PodAffinityTerm:
        return PodAffinityTerm(
            topologyKey=self.one(*KEYS), labelSelector=self.selector(),
            namespaces=["other"] if self.yes(0.2) else [],
            namespaceSelector=self.one(LabelSelector(), LabelSelector(matchLabels={"team": "a"})) if self.yes(0.2) else None,
            matchLabelKeys=["track"] if self.yes(0.15) else [], mismatchLabelKeys=["track"] if self.yes(0.1) else [],
        )  # fmt: skip

    def constraint(self) -> TopologySpreadConstraint:
        required = self.yes(0.5)
        return TopologySpreadConstraint(
            topologyKey=self.one(*KEYS), maxSkew=self.one(1, 2, 3), labelSelector=self.selector(),
            whenUnsatisfiable="DoNotSchedule" if required else "ScheduleAnyway",
            minDomains=self.one(None, 2, 4) if required else None, nodeAffinityPolicy=self.one("", "Honor", "Ignore"),
            nodeTaintsPolicy=self.one("", "Honor", "Ignore"), matchLabelKeys=["track"] if self.yes(0.15) else [],
        )  # fmt: skip


def compare(seed: int) -> None:
    """A cluster is filled pod by pod; each decision is the plain one's too."""
    dice = Dice(seed)
    nodes = [dice.node(number) for number in range(dice.one(1, 3, 6, 18))]
    cluster, snapshot = Cluster({n.metadata.name: n for n in nodes}, NAMESPACES), Snapshot()
    snapshot.namespaces.update(NAMESPACES)
    for each in nodes:
        snapshot.set_node(each)
    for number in range(dice.one(2, 8, 20)):
        wanted = dice.pod(f"p{number}")
        placed = agree(cluster, snapshot, wanted, Random(seed))
        if not placed and dice.yes(0.5):
            placed = dice.one(*cluster.nodes)  # somebody else has put it there
        if placed:
            if dice.yes(0.1):
                wanted.metadata.deletionTimestamp = "2026-01-01T00:00:00Z"
            cluster.pods.append((wanted, placed))
            snapshot.set_pod(wish(wanted), placed)
        if cluster.pods and dice.yes(0.15):
            gone, _ = cluster.pods.pop(dice.one(*range(len(cluster.pods))))
            snapshot.remove_pod(wish(gone).key)


def agree(cluster: Cluster, snapshot: Snapshot, wanted: Pod, random: Random) -> str:
    verdicts = {v.node: v for v in explain(snapshot, wish(wanted))}
    plain = {name: brute_force.rejector(cluster, wanted, n) for name, n in cluster.nodes.items()}
    assert {name: v.rejected_by for name, v in verdicts.items()} == plain
    feasible = [n for name, n in cluster.nodes.items() if not plain[name]]
    decision = schedule(snapshot, wish(wanted), random)
    if not feasible:
        assert not decision.node
        return ""
    totals = dict.fromkeys((n.metadata.name for n in feasible), 0)
    for plugin, points in brute_force.scores(cluster, wanted, feasible).items():
        expected = {n.metadata.name: WEIGHTS[plugin] * p for n, p in zip(feasible, points, strict=True)}
        found = {name: verdicts[name].scores.get(plugin) for name in expected}
        if {*found.values()} == {None}:  # nothing to compare: the same for all
            assert len({*expected.values()}) == 1, plugin
            continue
        assert found == expected, plugin
        for name, value in expected.items():
            totals[name] += value
    assert totals[decision.node] == max(totals.values())
    return decision.node


SEEDS = st.integers(min_value=0, max_value=2**32)


@settings(max_examples=150)
@given(SEEDS)
def test_every_decision_is_the_one_that_upstreams_rules_lead_to(seed: int) -> None:
    compare(seed)


@pytest.mark.long
@settings(max_examples=10_000)
@given(SEEDS)
def test_every_decision_on_ten_thousand_clusters_is_the_one_that_upstreams_rules_lead_to(seed: int) -> None:
    compare(seed)
