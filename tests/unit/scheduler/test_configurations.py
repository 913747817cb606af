from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from machinery.running import CannotGoOn
from scheduler.configurations import Configuration, load, parse
from scheduler.decisions import explain, schedule
from scheduler.filters import FILTERS
from scheduler.profiles import DEFAULT, Profile
from scheduler.scores import SCORES
from scheduler.wishes import wish
from tests.unit.scheduler.objects import World, container, node, pod, taint

HEAD = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"}


def configured(**more: Any) -> Configuration:
    return parse(msgspec.yaml.encode(HEAD | more))


def profile(**plugins: Any) -> Profile:
    [found] = configured(profiles=[{"plugins": plugins}]).profiles
    return found


def told(name: str, **arguments: Any) -> Profile:
    [found] = configured(profiles=[{"pluginConfig": [{"name": name, "args": arguments}]}]).profiles
    return found


def weights(found: Profile) -> dict[str, int]:
    return {name: weight for name, weight, _ in found.scores}


def test_nothing_said_is_upstreams_default() -> None:
    assert configured() == Configuration()
    assert (DEFAULT.filters, DEFAULT.scores, DEFAULT.preempts) == (FILTERS, SCORES, True)


def test_a_usual_file_is_understood() -> None:
    found = configured(
        clientConnection={"kubeconfig": "/etc/scheduler.conf", "qps": 100},
        leaderElection={"leaderElect": False, "resourceName": "mine", "leaseDuration": "15s"},
        percentageOfNodesToScore=50, parallelism=8, podInitialBackoffSeconds=2, podMaxBackoffSeconds=20,
        profiles=[{"schedulerName": "a", "percentageOfNodesToScore": 10}, {"schedulerName": "b"}],
    )  # fmt: skip
    assert [p.name for p in found.profiles] == ["a", "b"]
    assert (found.first_backoff, found.longest_backoff) == (2, 20)
    assert (found.kubeconfig, found.leader_elect, found.lease) == (Path("/etc/scheduler.conf"), False, "mine")


def test_plugins_are_taken_away_added_and_weighted() -> None:
    found = profile(multiPoint={"disabled": [{"name": "TaintToleration"}, {"name": "DefaultPreemption"}]})
    assert "TaintToleration" not in dict(found.filters)
    assert "TaintToleration" not in weights(found)
    assert not found.preempts
    found = profile(score={"disabled": [{"name": "*"}], "enabled": [{"name": "ImageLocality", "weight": 7}]})
    assert weights(found) == {"ImageLocality": 7}
    assert found.filters == FILTERS
    every = {
        "disabled": [{"name": "*"}],
        "enabled": [{"name": n} for n in ("PrioritySort", "NodeAffinity", "DefaultBinder")],
    }
    found = profile(multiPoint=every, score={"enabled": [{"name": "NodeAffinity", "weight": 5}]})
    assert ([*dict(found.filters)], weights(found), found.preempts) == (["NodeAffinity"], {"NodeAffinity": 5}, False)


def test_a_profile_decides() -> None:
    world = World(node("n1", taints=[taint("x")]), node("n2", cpu="1"))
    world.put("a", "n2", cpu="1")
    careless = profile(filter={"disabled": [{"name": "TaintToleration"}]})
    decided = schedule(world.snapshot, wish(pod(cpu="1")), Random(1), careless)
    assert decided.node == "n1"
    meek = profile(postFilter={"disabled": [{"name": "*"}]})
    decided = schedule(world.snapshot, wish(pod(cpu="1", priority=5)), Random(1), meek)
    assert decided.message == "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s)."
    blind = profile(filter={"disabled": [{"name": "NodeResourcesFit"}]})
    assert schedule(world.snapshot, wish(pod(cpu="9")), Random(1), blind).node == "n2"


def scores(world: World, wanted: Any, found: Profile) -> dict[str, int]:
    verdicts = explain(world.snapshot, wish(wanted), found)
    return {v.node: v.scores["NodeResourcesFit"] for v in verdicts if "NodeResourcesFit" in v.scores}


def test_pods_can_be_packed() -> None:
    world = World(node("n1", cpu="10", memory="10Gi"), node("n2", cpu="10", memory="10Gi"))
    world.put("a", "n1", cpu="5", memory="1Gi")
    wanted = pod(cpu="1", memory="1Gi")
    packing = told(
        "NodeResourcesFit",
        scoringStrategy={"type": "MostAllocated", "resources": [{"name": "cpu", "weight": 3}, {"name": "memory"}]},
    )
    assert scores(world, wanted, packing) == {"n1": (3 * 60 + 20) // 4, "n2": (3 * 10 + 10) // 4}


def test_the_use_of_a_resource_is_valued_by_a_shape() -> None:
    gpu = "example.com/gpu"
    nodes = [node(f"n{i}", **{gpu: "8"}) for i in range(2)]
    world = World(*nodes, node("n3", cpu="8"))
    world.put("a", "n1", containers=[container(**{gpu: "3"})])
    shape = [{"utilization": 0, "score": 0}, {"utilization": 50, "score": 10}, {"utilization": 100, "score": 5}]
    strategy = {
        "type": "RequestedToCapacityRatio", "resources": [{"name": gpu, "weight": 2}, {"name": "cpu"}],
        "requestedToCapacityRatio": {"shape": shape},
    }  # fmt: skip
    found = told("NodeResourcesFit", scoringStrategy=strategy)
    # A half of the one's, an eighth of the other's; 500 of 4000 thousandths of both their processors are an eighth, too.
    wanted = pod(containers=[container(cpu="500m", **{gpu: "1"})])
    assert scores(world, wanted, found) == {"n0": 24, "n1": round((2 * 100 + 30) / 3)}


def test_preemption_compares_as_many_nodes_as_it_is_told_to() -> None:
    found = told("DefaultPreemption", minCandidateNodesPercentage=0, minCandidateNodesAbsolute=1)
    world = World(*(node(f"n{i}", cpu="1") for i in range(20)))
    for i in range(20):
        world.put(f"p{i}", f"n{i}", cpu="1", priority=i)
    wanted = wish(pod(cpu="1", priority=100))
    chosen = {schedule(world.snapshot, wanted, Random(seed), found).preemption.node for seed in range(40)}
    assert len(chosen) > 5


STRANGE: list[tuple[dict[str, Any], str]] = [
    ({"profiles": [{"plugins": {"score": {"enabled": [{"name": "Mine"}]}}}]}, "plugin 'Mine' does not exist"),
    ({"profiles": [{"plugins": {"score": {"enabled": [{"name": "NodeName"}]}}}]}, "does not extend this point"),
    ({"profiles": [{"plugins": {"score": {"enabled": [{"name": "NodeAffinity", "weight": -1}]}}}]}, "not be negative"),
    ({"profiles": [{"plugins": {"preBind": {"disabled": [{"name": "VolumeBinding"}]}}}]}, "plugins.preBind.disabled"),
    ({"profiles": [{}, {}]}, "duplicate profile"),
    ({"profiles": [{"pluginConfig": [{"name": "VolumeBinding"}]}]}, "arguments of VolumeBinding cannot be set"),
    ({"podInitialBackoffSeconds": 9, "podMaxBackoffSeconds": 1}, "podMaxBackoffSeconds"),
    ({"extenders": [{"urlPrefix": "http://x"}]}, "unknown field `extenders`"),
    ({"profile": []}, "unknown field `profile`"),
    ({"kind": "Deployment"}, "Invalid enum value 'Deployment'"),
]


@pytest.mark.parametrize(("given", "fault"), STRANGE, ids=[fault for _, fault in STRANGE])
def test_what_cannot_be_done_is_refused(given: dict[str, Any], fault: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(msgspec.yaml.encode(HEAD | given))
    with pytest.raises(CannotGoOn, match=fault):
        load(path)


@pytest.mark.parametrize(
    "arguments",
    [
        {"scoringStrategy": {"type": "RequestedToCapacityRatio"}},
        {"scoringStrategy": {"resources": [{"name": "cpu", "weight": 0}]}},
        {"scoringStrategy": {"type": "RequestedToCapacityRatio", "requestedToCapacityRatio": {"shape": [{"utilization": 1, "score": 11}]}}},
        {"ignoredResources": ["example.com/foo"]},
    ],
)  # fmt: skip
def test_strange_arguments_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises((ValueError, msgspec.ValidationError)):
        told("NodeResourcesFit", **arguments)
