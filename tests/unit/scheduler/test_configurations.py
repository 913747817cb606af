import re
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from api.labels import from_map
from machinery.leases import Timing
from machinery.running import CannotGoOn
from scheduler.configurations import Configuration, load, parse
from scheduler.decisions import explain, schedule
from scheduler.filters import FILTERS
from scheduler.profiles import DEFAULT, Profile
from scheduler.scores import SCORES
from scheduler.wishes import HOSTNAME, wish
from tests.unit.scheduler.objects import World, container, near, node, pod, taint

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
    assert replace(configured(), document=None) == Configuration()
    assert configured().described() == Configuration().described()
    assert (DEFAULT.filters, DEFAULT.scores, DEFAULT.preempts) == (FILTERS, SCORES, True)


def test_a_usual_file_is_understood() -> None:
    found = configured(
        clientConnection={"kubeconfig": "/etc/scheduler.conf", "qps": 100},
        leaderElection={"leaderElect": False, "resourceName": "mine", "leaseDuration": "15s"},
        parallelism=8, podInitialBackoffSeconds=2, podMaxBackoffSeconds=20,
        profiles=[{"schedulerName": "a", "percentageOfNodesToScore": 10}, {"schedulerName": "b"}],
    )  # fmt: skip
    assert [p.name for p in found.profiles] == ["a", "b"]
    assert (found.first_backoff, found.longest_backoff) == (2, 20)
    assert found.timing == Timing(duration=15)
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


def one(**profile: Any) -> dict[str, Any]:
    return {"profiles": [profile]}


def plugins(**points: Any) -> dict[str, Any]:
    return one(plugins=points)


def args(plugin: str, **given: Any) -> dict[str, Any]:
    return one(pluginConfig=[{"name": plugin, "args": given}])


def strategy(**given: Any) -> dict[str, Any]:
    return args("NodeResourcesFit", scoringStrategy=given)


def shape(*points: tuple[int, int]) -> dict[str, Any]:
    listed = [{"utilization": u, "score": score} for u, score in points]
    return strategy(type="RequestedToCapacityRatio", requestedToCapacityRatio={"shape": listed})


ARGS = "profiles[0].pluginConfig[0].args"
FIT = f"{ARGS}.scoringStrategy"
CONSTRAINTS = f"{ARGS}.defaultConstraints"
SHAPE = f"{FIT}.requestedToCapacityRatio.shape"
ZONED = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
STRANGE: list[tuple[dict[str, Any], str]] = [
    (plugins(score={"enabled": [{"name": "Mine"}]}), 'ScorePlugin "Mine" does not exist'),
    (plugins(multiPoint={"enabled": [{"name": "Mine"}]}), 'PreFilterPlugin "Mine" does not exist'),
    (plugins(score={"enabled": [{"name": "NodeName"}]}), 'plugin "NodeName" does not extend ScorePlugin plugin'),
    (
        plugins(filter={"enabled": [{"name": "NodeName"}, {"name": "NodeName"}]}),
        'plugin "NodeName" already registered as "FilterPlugin"',
    ),
    (
        plugins(bind={"disabled": [{"name": "*"}]}),
        'at least one bind plugin is needed for profile with scheduler name "default-scheduler"',
    ),
    (
        plugins(queueSort={"disabled": [{"name": "PrioritySort"}]}),
        'at least one queue sort plugin is needed for profile with scheduler name "default-scheduler"',
    ),
    ({"profiles": [{}, {}]}, 'profiles[1].schedulerName: Duplicate value: "profiles[0].schedulerName"'),
    (one(schedulerName=""), "profiles[0].schedulerName: Required value"),
    (one(percentageOfNodesToScore=101), "profiles[0].percentageOfNodesToScore: Invalid value: 101: not in valid range [0-100]"),
    ({"percentageOfNodesToScore": -1}, "percentageOfNodesToScore: Invalid value: -1: not in valid range [0-100]"),
    ({"parallelism": 0}, "parallelism: Invalid value: 0: should be an integer value greater than zero"),
    ({"podInitialBackoffSeconds": 0}, "podInitialBackoffSeconds: Invalid value: 0: must be greater than 0"),
    (
        {"podInitialBackoffSeconds": 9, "podMaxBackoffSeconds": 1},
        "podMaxBackoffSeconds: Invalid value: 1: must be greater than or equal to PodInitialBackoffSeconds",
    ),
    (one(pluginConfig=[{"name": "X"}, {"name": "X"}]), 'profiles[0].pluginConfig[1]: Duplicate value: "X"'),
    (
        {"extenders": [{"urlPrefix": "http://x", "prioritizeVerb": "p"}]},
        "extenders[0].weight: Invalid value: 0: must have a positive weight applied to it",
    ),
    (
        {"extenders": [{"urlPrefix": "http://x", "bindVerb": "b"}] * 2},
        'extenders: Invalid value: "found 2 extenders implementing bind": only one extender can implement bind',
    ),
    (
        {"extenders": [{"urlPrefix": "http://x", "managedResources": [{"name": "a/b"}, {"name": "a/b"}]}]},
        'extenders[0].managedResources[1].name: Invalid value: "a/b": duplicate extender managed resource name',
    ),
    (
        {"extenders": [{"urlPrefix": "http://x", "managedResources": [{"name": "cpu"}]}]},
        'extenders[0].managedResources[0].name: Invalid value: "cpu": is an invalid extended resource name',
    ),
    ({"profile": []}, "unknown field `profile`"),
    ({"kind": "Deployment"}, "Invalid enum value 'Deployment'"),
    (
        args("NodeResourcesFit", kind="Deployment"),
        "args for plugin NodeResourcesFit were not of type NodeResourcesFitArgs, got Deployment",
    ),
    (
        strategy(type="Least"),
        f'{FIT}.type: Unsupported value: "Least": supported values: "LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"',
    ),
    (
        strategy(resources=[{"name": "cpu", "weight": 0}]),
        f"{FIT}.resources[0].weight: Invalid value: 0: resource weight of cpu not in valid range (0, 100]",
    ),
    (
        strategy(type="RequestedToCapacityRatio"),
        f"{FIT}.requestedToCapacityRatio: Required value: must be specified when type is RequestedToCapacityRatio",
    ),
    (
        strategy(requestedToCapacityRatio={}),
        f"{FIT}.requestedToCapacityRatio: Forbidden: must be nil when type is not RequestedToCapacityRatio",
    ),
    (shape(), f"{SHAPE}: Required value: at least one point must be specified"),
    (shape((5, 1), (5, 2)), f"{SHAPE}[1].utilization: Invalid value: 5: values must be sorted in increasing order"),
    (shape((1, 11)), f"{SHAPE}[0].score: Invalid value: 11: not in valid range [0, 10]"),
    (shape((101, 1)), f"{SHAPE}[0].utilization: Invalid value: 101: not in valid range [0, 100]"),
    (
        args("NodeResourcesFit", ignoredResourceGroups=["a/b"]),
        f'{ARGS}.ignoredResourceGroups[0]: Invalid value: "a/b": resource group name can\'t contain \'/\'',
    ),
    (
        args("NodeResourcesBalancedAllocation", resources=[{"name": "cpu"}, {"name": "cpu"}]),
        f'{ARGS}.resources[1].name: Duplicate value: "cpu"',
    ),
    (
        args("NodeResourcesBalancedAllocation", resources=[{"name": "cpu", "weight": 2}]),
        f"{ARGS}.resources[0].weight: Invalid value: 2: must be 1",
    ),
    (
        args("InterPodAffinity", hardPodAffinityWeight=101),
        f"{ARGS}.hardPodAffinityWeight: Invalid value: 101: not in valid range [0, 100]",
    ),
    (
        args("PodTopologySpread", defaultingType="Mine"),
        f'{ARGS}.defaultingType: Unsupported value: "Mine": supported values: "List", "System"',
    ),
    (
        args("PodTopologySpread", defaultConstraints=[ZONED]),
        f'{ARGS}.defaultingType: Invalid value: "System": when .defaultConstraints are not empty',
    ),
    (
        args("PodTopologySpread", defaultingType="List", defaultConstraints=[ZONED, ZONED]),
        f'{CONSTRAINTS}[1]: Duplicate value: "{{zone, DoNotSchedule}}"',
    ),
    (
        args("PodTopologySpread", defaultingType="List", defaultConstraints=[{"topologyKey": ""}]),
        f"[{CONSTRAINTS}[0].maxSkew: Invalid value: 0: not in valid range (0, inf), "
        f"{CONSTRAINTS}[0].topologyKey: Required value: can not be empty, "
        f"{CONSTRAINTS}[0].whenUnsatisfiable: Required value: can not be empty]",
    ),
    (
        args("PodTopologySpread", defaultingType="List", defaultConstraints=[ZONED | {"labelSelector": {}}]),
        f"{CONSTRAINTS}[0].labelSelector: Forbidden: constraint must not define a selector, as they deduced for each pod",
    ),
    (
        args("VolumeBinding", bindTimeoutSeconds=-1),
        f"{ARGS}.bindTimeoutSeconds: Invalid value: -1: invalid BindTimeoutSeconds, should not be a negative value",
    ),
    (
        args("DefaultPreemption", minCandidateNodesPercentage=0, minCandidateNodesAbsolute=0),
        f"[{ARGS}.minCandidateNodesPercentage: Invalid value: 0: cannot be zero at the same time as "
        f"minCandidateNodesAbsolute, {ARGS}.minCandidateNodesAbsolute: Invalid value: 0: cannot be zero at the same time "
        "as minCandidateNodesPercentage]",
    ),
    (
        args("DefaultPreemption", minCandidateNodesPercentage=101),
        f"{ARGS}.minCandidateNodesPercentage: Invalid value: 101: not in valid range [0, 100]",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("given", "fault"), STRANGE, ids=[fault[:60] for _, fault in STRANGE])
def test_what_cannot_be_done_is_refused(given: dict[str, Any], fault: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(msgspec.yaml.encode(HEAD | given))
    with pytest.raises(CannotGoOn, match=re.escape(fault)):
        load(path)


def test_resources_can_be_left_to_extenders() -> None:
    managed = [{"name": "example.com/gpu", "ignoredByScheduler": True}, {"name": "example.com/fpga"}]
    found = configured(extenders=[{"urlPrefix": "http://x", "managedResources": managed}])
    wanted = wish(pod(containers=[container(**{"example.com/gpu": "1"})]))
    assert schedule(World(node("n1")).snapshot, wanted, Random(1), found.profiles[0]).node == "n1"
    wanted = wish(pod(containers=[container(**{"example.com/fpga": "1"})]))
    assert not schedule(World(node("n1")).snapshot, wanted, Random(1), found.profiles[0]).node


def test_resources_can_be_left_to_others() -> None:
    world = World(node("n1"))
    wanted = wish(pod(containers=[container(**{"example.com/gpu": "1", "example.com/fpga": "1", "cpu": "1"})]))
    for ignoring, helps in (
        ({"ignoredResources": ["example.com/gpu"]}, False),
        ({"ignoredResources": ["example.com/gpu", "example.com/fpga"]}, True),
        ({"ignoredResourceGroups": ["example.com"]}, True),
    ):
        decided = schedule(world.snapshot, wanted, Random(1), told("NodeResourcesFit", **ignoring))
        assert bool(decided.node) is helps, ignoring
    assert decided.message == ""


def test_every_pod_can_be_given_a_node_affinity() -> None:
    expression = {"key": "disk", "operator": "In", "values": ["ssd"]}
    term = {"matchExpressions": [expression]}
    world = World(node("n1"), node("n2", labels={"disk": "ssd"}))
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    found = told("NodeAffinity", addedAffinity=required)
    verdicts = {v.node: v.reason for v in explain(world.snapshot, wish(pod()), found)}
    assert verdicts == {"n1": "node(s) didn't match scheduler-enforced node affinity", "n2": ""}
    preferred = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 5, "preference": term}]}
    found = told("NodeAffinity", addedAffinity=preferred)
    assert [v.scores["NodeAffinity"] for v in explain(world.snapshot, wish(pod()), found)] == [0, 200]


def test_affinity_of_running_pods_is_worth_what_the_profile_says() -> None:
    world = World(node("n1"), node("n2"))
    world.put("friend", "n2", affinity=near("web"), labels={"app": "web"})
    wanted = wish(pod(labels={"app": "web"}))

    def drawn(**given: Any) -> list[int | None]:
        return [
            v.scores.get("InterPodAffinity") for v in explain(world.snapshot, wanted, told("InterPodAffinity", **given))
        ]

    assert drawn() == [0, 200]
    assert drawn(hardPodAffinityWeight=0) == [None, None]
    assert drawn(ignorePreferredTermsOfExistingPods=True) == [None, None]


def test_pods_spread_by_the_constraints_of_their_profile() -> None:
    constraint = {"maxSkew": 1, "topologyKey": HOSTNAME, "whenUnsatisfiable": "DoNotSchedule"}
    found = told("PodTopologySpread", defaultingType="List", defaultConstraints=[constraint])
    world = World(node("n1"), node("n2"))
    world.put("a", "n1", labels={"app": "web"})
    group = from_map({"app": "web"})
    wanted = wish(pod(labels={"app": "web"}), group, found.spreads)
    verdicts = {v.node: v.rejected_by for v in explain(world.snapshot, wanted, found)}
    assert verdicts == {"n1": "PodTopologySpread", "n2": ""}
    assert not wish(pod(labels={"app": "web"}), group, told("PodTopologySpread", defaultingType="List").spreads).spreads


def test_shares_of_any_resources_can_be_balanced() -> None:
    gpu = "example.com/gpu"
    world = World(node("n1", cpu="10", memory="10Gi", **{gpu: "10"}), node("n2", cpu="10", memory="10Gi"))
    found = told("NodeResourcesBalancedAllocation", resources=[{"name": n} for n in ("cpu", "memory", gpu)])
    wanted = wish(pod(containers=[container(cpu="9", memory="1Gi", **{gpu: "0"})]))
    points = {v.node: v.scores["NodeResourcesBalancedAllocation"] for v in explain(world.snapshot, wanted, found)}
    # Shares of 0.9, 0.1 and 0 deviate by 0.4027; without the third, by 0.4.
    assert points == {"n1": 59, "n2": 60}


def test_a_profile_compares_as_many_nodes_as_it_wants_to_and_then_the_next() -> None:
    world = World(*(node(f"n{i:03}", cpu="10" if i < 100 else "20") for i in range(300)))
    few = replace(DEFAULT, percent_of_nodes=10)
    chosen = [schedule(world.snapshot, wish(pod(cpu="1")), Random(seed), few).node for seed in range(4)]
    assert [name < "n100" for name in chosen] == [True, False, False, True]
    [told_so] = configured(percentageOfNodesToScore=50, profiles=[{"percentageOfNodesToScore": 10}]).profiles
    assert told_so == few


@pytest.mark.parametrize(
    ("disabled", "field"),
    [
        ("preEnqueue:SchedulingGates", "gates"),
        ("preBind:VolumeBinding", "binds_volumes"),
        ("reserve:*", "binds_volumes"),
        ("preEnqueue:DynamicResources", "awaits_claims"),
        ("preBind:DynamicResources", "binds_devices"),
        ("reserve:*", "binds_devices"),
    ],
)
def test_what_is_done_at_other_points_can_be_taken_away(disabled: str, field: str) -> None:
    point, name = disabled.split(":")
    assert getattr(DEFAULT, field)
    assert not getattr(profile(**{point: {"disabled": [{"name": name}]}}), field)


def test_devices_may_take_as_long_to_be_prepared_as_the_profile_says() -> None:
    assert (DEFAULT.device_seconds, told("DynamicResources", bindingTimeout="2m").device_seconds) == (600, 120)
    with pytest.raises(ValueError, match="'soon' is no duration"):
        told("DynamicResources", bindingTimeout="soon")


def test_who_may_not_prepare_has_nothing_to_say() -> None:
    assert "NodePorts" not in dict(profile(preFilter={"disabled": [{"name": "NodePorts"}]}).filters)
    assert "TaintToleration" not in weights(profile(preScore={"disabled": [{"name": "*"}]}))
