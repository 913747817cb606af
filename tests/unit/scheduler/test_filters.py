import pytest

from api.types import (
    Affinity,
    ContainerPort,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    Toleration,
)
from tests.unit.scheduler.objects import World, container, node, pod, taint, tolerating


def required(*requirements: NodeSelectorRequirement, fields: bool = False) -> Affinity:
    term = NodeSelectorTerm(**{"matchFields" if fields else "matchExpressions": [*requirements]})
    selector = NodeSelector(nodeSelectorTerms=[term])
    return Affinity(nodeAffinity=NodeAffinity(requiredDuringSchedulingIgnoredDuringExecution=selector))


def requirement(key: str, operator: str, *values: str) -> NodeSelectorRequirement:
    return NodeSelectorRequirement(key=key, operator=operator, values=[*values])


def test_a_cordoned_node_takes_only_pods_that_tolerate_it() -> None:
    world = World(node("n1", unschedulable=True))
    assert world.rejected(pod()) == {"n1": ("NodeUnschedulable", "node(s) were unschedulable")}
    toleration = tolerating("node.kubernetes.io/unschedulable", effect="NoSchedule")
    assert world.decide(pod(tolerations=[toleration])).node == "n1"


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        (tolerating("gpu"), True),
        (tolerating("gpu", "Equal", "a100"), True),
        (tolerating("gpu", "", "a100", "NoSchedule"), True),
        (tolerating("gpu", "Equal", "other"), False),
        (tolerating("gpu", effect="NoExecute"), False),
        (Toleration(operator="Exists"), True),
        (tolerating("other"), False),
    ],
)
def test_a_taint_repels_pods_that_do_not_tolerate_it(toleration: Toleration, tolerated: bool) -> None:
    world = World(node("n1", taints=[taint("gpu", value="a100")]))
    expected = {} if tolerated else {"n1": ("TaintToleration", "node(s) had untolerated taint(s)")}
    assert world.rejected(pod(tolerations=[toleration])) == expected


def test_a_preference_of_the_node_repels_nobody() -> None:
    assert World(node("n1", taints=[taint("busy", "PreferNoSchedule")])).decide().node == "n1"


def test_a_node_selector_must_match() -> None:
    world = World(node("n1", labels={"disk": "ssd"}), node("n2"))
    reason = ("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")
    assert world.rejected(pod(nodeSelector={"disk": "ssd"})) == {"n2": reason}


@pytest.mark.parametrize(
    ("wanted", "allowed"),
    [
        (requirement("disk", "In", "ssd", "nvme"), {"n1", "n2"}),
        (requirement("disk", "NotIn", "ssd"), {"n2", "n3"}),
        (requirement("disk", "Exists"), {"n1", "n2"}),
        (requirement("disk", "DoesNotExist"), {"n3"}),
        (requirement("gen", "Gt", "6"), {"n2"}),
        (requirement("gen", "Lt", "6"), {"n1"}),
        (requirement("unheard", "Exists"), set()),
    ],
)
def test_required_node_affinity_knows_all_operators(wanted: NodeSelectorRequirement, allowed: set[str]) -> None:
    world = World(
        node("n1", labels={"disk": "ssd", "gen": "5"}),
        node("n2", labels={"disk": "nvme", "gen": "7"}),
        node("n3", labels={"gen": "six"}),
    )
    assert {"n1", "n2", "n3"} - world.rejected(pod(affinity=required(wanted))).keys() == allowed


def test_node_affinity_can_name_the_node() -> None:
    world = World(node("n1"), node("n2"))
    wanted = required(requirement("metadata.name", "In", "n2"), fields=True)
    assert world.decide(pod(affinity=wanted)).node == "n2"


def test_labels_that_change_are_seen() -> None:
    world = World(node("n1"))
    assert not world.decide(pod(nodeSelector={"disk": "ssd"})).node
    world.snapshot.set_node(node("n1", labels={"disk": "ssd"}))
    assert world.decide(pod(nodeSelector={"disk": "ssd"})).node == "n1"
    world.snapshot.set_node(node("n1"))
    assert not world.decide(pod(nodeSelector={"disk": "ssd"})).node


def test_a_host_port_is_given_once_per_address_and_protocol() -> None:
    def listening(name: str, address: str = "", protocol: str = "TCP") -> dict[str, object]:
        port = ContainerPort(containerPort=80, hostPort=8080, hostIP=address, protocol=protocol)
        return {"containers": [container(name, ports=[port])]}

    world = World(node("n1"))
    world.put("a", "n1", **listening("a", "10.0.0.1"))
    reason = ("NodePorts", "node(s) didn't have free ports for the requested pod ports")
    assert world.rejected(pod(**listening("b", "10.0.0.1"))) == {"n1": reason}
    assert world.rejected(pod(**listening("b"))) == {"n1": reason}, "every address includes that one"
    assert world.decide(pod(**listening("b", "10.0.0.2"))).node == "n1"
    assert world.decide(pod(**listening("b", protocol="UDP"))).node == "n1"
    world.snapshot.remove_pod(("default", "a"))
    assert world.decide(pod(**listening("b"))).node == "n1"


def test_every_resource_that_is_short_is_a_reason() -> None:
    world = World(node("n1", cpu="1", memory="1Gi"))
    world.put("a", "n1", cpu="600m", memory="600Mi")
    assert world.rejected(pod(cpu="500m", memory="500Mi")) == {
        "n1": ("NodeResourcesFit", "Insufficient cpu, Insufficient memory")
    }
    assert world.decide(pod(cpu="400m", memory="400Mi")).node == "n1"


def test_extended_resources_and_the_number_of_pods_are_limits_too() -> None:
    world = World(node("n1", pods="1", **{"example.com/gpu": "1"}), node("n2"))
    gpu = pod(containers=[container(**{"example.com/gpu": "1"})])
    assert world.rejected(gpu) == {"n2": ("NodeResourcesFit", "Insufficient example.com/gpu")}
    world.put("a", "n1")
    assert world.rejected(pod()) == {"n1": ("NodeResourcesFit", "Too many pods")}


def test_init_containers_and_overhead_count_as_upstream_counts_them() -> None:
    wanted = pod(
        initContainers=[container("sidecar", restart="Always", cpu="200m"), container("setup", cpu="1")],
        containers=[container("a", cpu="500m"), container("b", cpu="400m")],
        overhead={"cpu": "50m"},
    )  # the setup beside the sidecar needs 1200m; later 200 + 900 run
    assert World(node("n1", cpu="1250m")).decide(wanted).node == "n1"
    assert not World(node("n1", cpu="1249m")).decide(wanted).node
