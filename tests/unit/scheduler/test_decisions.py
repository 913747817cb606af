from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from api import labels
from api.types import (
    Affinity,
    ContainerImage,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    Pod,
    PreferredSchedulingTerm,
)
from scheduler.decisions import explain, schedule
from scheduler.snapshots import Snapshot
from scheduler.wishes import wish
from tests.unit.scheduler.objects import World, apart, container, node, pod, spread, taint

NOT_HELPFUL = "Preemption is not helpful for scheduling"
NO_VICTIMS = "No preemption victims found for incoming pod"


def test_without_nodes_the_message_says_so() -> None:
    decision = World().decide()
    assert (decision.node, decision.message) == ("", "no nodes available to schedule pods")


def test_the_message_counts_each_node_under_its_first_reason() -> None:
    world = World(node("n1", taints=[taint("x")], cpu="1m"), node("n2"), node("n3"))
    world.put("a", "n2", cpu="3")
    world.put("b", "n3", cpu="3")
    decision = world.decide(pod(cpu="2"))
    assert decision.message == (
        "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. no new claims to deallocate, "
        f"preemption: 0/3 nodes are available: 1 {NOT_HELPFUL}, 2 {NO_VICTIMS}."
    )
    assert decision.rejectors == {"TaintToleration", "NodeResourcesFit"}


def test_what_no_node_could_ever_hold_is_not_helped_by_preemption() -> None:
    decision = World(node("n1")).decide(pod(cpu="100"))
    assert decision.message == (
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: "
        f"1 {NOT_HELPFUL}."
    )


def test_only_the_nodes_that_a_pod_names_are_looked_at() -> None:
    def wanting(*names: str) -> Pod:
        field = NodeSelectorRequirement(key="metadata.name", operator="In", values=[*names])
        required = NodeSelector(nodeSelectorTerms=[NodeSelectorTerm(matchFields=[field])])
        affinity = NodeAffinity(requiredDuringSchedulingIgnoredDuringExecution=required)
        return pod(cpu="8", affinity=Affinity(nodeAffinity=affinity))

    world = World(node("n1", taints=[taint("x")]), node("n2"), node("n3", taints=[taint("x")]))
    assert world.decide(wanting("n2")).message.startswith(
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]. no new"
    )
    assert world.decide(wanting("gone")).message.startswith(
        "0/3 nodes are available: 3 node(s) didn't satisfy plugin(s) [NodeAffinity]. no new"
    )
    assert world.decide(wanting()).message == "0/3 nodes are available: pod affinity terms conflict. not found"


def test_a_pod_that_never_preempts_is_told_so() -> None:
    decision = World(node("n1")).decide(pod(cpu="100", preemptionPolicy="Never"))
    assert decision.message.endswith("preemption: not eligible due to preemptionPolicy=Never.")


def test_the_emptier_node_wins() -> None:
    world = World(node("n1"), node("n2"))
    world.put("a", "n1", cpu="2", memory="2Gi")
    assert {world.decide(pod(cpu="100m", memory="64Mi")).node for _ in range(10)} == {"n2"}


def test_equals_are_chosen_at_random_and_by_the_given_randomness_alone() -> None:
    nodes = [node(f"n{i}") for i in range(3)]
    chosen = [[World(*nodes, seed=seed).decide().node for seed in range(30)] for _ in range(2)]
    assert set(chosen[0]) == {"n0", "n1", "n2"}
    assert chosen[0] == chosen[1]


def test_scores_are_upstreams_with_upstreams_weights() -> None:
    image = ContainerImage(names=["app:1"], sizeBytes=500 * 2**20)
    first, second = (
        node("n1", cpu="1", memory="1Gi"),
        node("n2", cpu="2", memory="1Gi", taints=[taint("x", "PreferNoSchedule")]),
    )
    first.status.images = [image]
    world = World(first, second)
    wanted = pod(cpu="500m", memory="256Mi")
    assert world.scores(wanted, "NodeResourcesFit") == {"n1": (50 + 75) // 2, "n2": (75 + 75) // 2}
    assert world.scores(wanted, "NodeResourcesBalancedAllocation") == {"n1": 87, "n2": 100}
    assert world.scores(wanted, "TaintToleration") == {"n1": 300, "n2": 0}
    assert world.scores(wanted, "ImageLocality") == {"n1": int(100 * (250 - 23) / (1000 - 23)), "n2": 0}
    assert world.scores(wanted, "NodeAffinity") == {}


def test_preferred_node_affinity_adds_up() -> None:
    def preference(weight: int, value: str) -> PreferredSchedulingTerm:
        requirement = NodeSelectorRequirement(key="disk", operator="In", values=[value])
        return PreferredSchedulingTerm(weight=weight, preference=NodeSelectorTerm(matchExpressions=[requirement]))

    world = World(node("n1", labels={"disk": "ssd"}), node("n2", labels={"disk": "hdd"}), node("n3"))
    wants = [preference(80, "ssd"), preference(20, "hdd")]
    affinity = Affinity(nodeAffinity=NodeAffinity(preferredDuringSchedulingIgnoredDuringExecution=wants))
    assert world.scores(pod(affinity=affinity), "NodeAffinity") == {"n1": 200, "n2": 50, "n3": 0}


def test_pods_of_a_node_that_returns_are_counted_again() -> None:
    world = World(node("n1", cpu="1"))
    world.put("a", "n1", cpu="800m")
    world.snapshot.remove_node("n1")
    assert world.decide().message == "no nodes available to schedule pods"
    world.snapshot.set_node(node("n1", cpu="1"))
    assert not world.decide(pod(cpu="300m")).node
    world.snapshot.remove_pod(("default", "a"))
    assert world.decide(pod(cpu="300m")).node == "n1"


KINDS = [
    {"cpu": "500m"},
    {"labels": {"app": "web"}, "affinity": apart("web")},
    {"labels": {"app": "db"}, "topologySpreadConstraints": [spread("db")]},
    {"containers": [container(cpu="100m", image="other")]},
]
STEP = st.tuples(st.sampled_from(["node", "gone", "pod", "drop"]), st.integers(0, 4), st.integers(0, 3))


@settings(max_examples=60)
@given(st.lists(STEP, max_size=25))
def test_a_snapshot_changed_in_steps_decides_like_one_built_at_once(steps: list[tuple[str, int, int]]) -> None:
    stepwise, nodes, placed = Snapshot(), {}, {}
    group = labels.from_map({"app": "web"})
    probes = [wish(pod("probe", **kind), group) for kind in KINDS]
    for what, number, kind in steps:
        for probe in probes:  # so that what is remembered between decisions has to be kept current
            schedule(stepwise, probe, Random(1))
        match what:
            case "node":
                nodes[f"n{number}"] = node(f"n{number}", zone="ab"[kind % 2], cpu=f"{kind + 1}")
                stepwise.set_node(nodes[f"n{number}"])
            case "gone":
                nodes.pop(f"n{number}", None)
                stepwise.remove_node(f"n{number}")
            case "pod":
                wanted = wish(pod(f"p{number}", **KINDS[kind]))
                placed[wanted.key] = (wanted, f"n{(number + kind) % 5}")
                stepwise.set_pod(*placed[wanted.key])
            case "drop":
                placed.pop(("default", f"p{number}"), None)
                stepwise.remove_pod(("default", f"p{number}"))
    at_once = Snapshot()
    for each in nodes.values():
        at_once.set_node(each)
    for each, on in placed.values():
        at_once.set_pod(each, on)
    for probe in probes:
        assert explain(stepwise, probe) == explain(at_once, probe)
