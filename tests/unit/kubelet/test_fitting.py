"""Whether pods fit on their node."""

import pytest

from api.types import Container, ContainerPort, Node, NodeSpec, NodeStatus, ObjectMeta, Pod, ResourceRequirements, Taint
from kubelet.pods.admission import Gate
from kubelet.pods.fitting import misfits, victims
from tests.unit.kubelet.builders import container, pod

HAS = {"cpu": "2", "memory": "1Gi", "ephemeral-storage": "10Gi", "pods": "3", "example.com/foo": "1"}
NODE = Node(metadata=ObjectMeta(name="node1", labels={"zone": "a"}), status=NodeStatus(allocatable=HAS))
CRITICAL = 2_000_000_000


def wanting(name: str = "p", priority: int = 0, limits: dict[str, str] | None = None, **requests: str) -> Pod:
    asked = {
        key.replace("__", "/").replace("_", "-").replace("example-com", "example.com"): v for key, v in requests.items()
    }
    resources = ResourceRequirements(requests=asked, limits=limits or {})
    return pod(
        container(resources=resources), metadata={"name": name, "uid": name}, priority=priority, nodeName="node1"
    )


def told(of: Pod, *others: Pod) -> list[tuple[str, str]]:
    return [(m.reason, m.message) for m in misfits(of, NODE, others)]


@pytest.mark.parametrize(
    ("of", "others", "expected"),
    [
        (wanting(cpu="2"), [], []),
        (
            wanting(cpu="1500m"),
            [wanting("o", cpu="1")],
            [("OutOfcpu", "cpu, requested: 1500, used: 1000, capacity: 2000")],
        ),
        (wanting(memory="2Gi"), [], [("OutOfmemory", "memory, requested: 2147483648, used: 0, capacity: 1073741824")]),
        (
            wanting(ephemeral_storage="11Gi"),
            [],
            [("OutOfephemeral-storage", "ephemeral-storage, requested: 11811160064, used: 0, capacity: 10737418240")],
        ),
        (wanting(), [wanting(n) for n in "abc"], [("OutOfpods", "pods, requested: 1, used: 3, capacity: 3")]),
        (
            wanting(example_com__foo="1"),
            [wanting("o", example_com__foo="1")],
            [("OutOfexample.com/foo", "example.com/foo, requested: 1, used: 1, capacity: 1")],
        ),
        (wanting(example_com__bar="1"), [], []),
    ],
)
def test_a_node_gives_no_more_than_it_has(of: Pod, others: list[Pod], expected: list[tuple[str, str]]) -> None:
    words = "Node didn't have enough resource: "
    assert told(of, *others) == [(reason, words + message) for reason, message in expected]


def test_a_pod_that_wants_another_node_is_told_so() -> None:
    of = pod(nodeSelector={"zone": "b"}, nodeName="node1")
    words = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
    assert told(of) == [("NodeAffinity", words)]
    assert told(pod(nodeSelector={"zone": "a"})) == []


def serving(port: int, ip: str = "", protocol: str = "") -> Pod:
    return pod(container(ports=[ContainerPort(containerPort=80, hostPort=port, hostIP=ip, protocol=protocol)]))


def test_a_port_of_the_node_is_one_pods() -> None:
    words = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
    assert told(serving(80), serving(80, "10.0.0.1")) == [("NodePorts", words)]
    assert told(serving(80, "10.0.0.2"), serving(80, "10.0.0.1")) == []
    assert told(serving(80, protocol="UDP"), serving(80)) == told(serving(81), serving(80)) == []


def test_only_a_taint_that_would_end_the_pod_keeps_it_out() -> None:
    tainted = Node(
        metadata=NODE.metadata, status=NODE.status, spec=NodeSpec(taints=[Taint(key="k", effect="NoExecute")])
    )
    (found,) = misfits(pod(), tainted, [])
    assert (found.reason, found.message) == (
        "TaintToleration", "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate",
    )  # fmt: skip
    static = pod(metadata={"annotations": {"kubernetes.io/config.source": "file"}})
    assert misfits(static, tainted, []) == []
    softer = Node(
        metadata=NODE.metadata, status=NODE.status, spec=NodeSpec(taints=[Taint(key="k", effect="NoSchedule")])
    )
    assert misfits(pod(), softer, []) == []


def victims_of(of: Pod, *others: Pod) -> list[str] | None:
    short = [m for m in misfits(of, NODE, others) if hasattr(m, "missing")]
    chosen = victims(of, others, short)
    return None if chosen is None else sorted(p.metadata.name for p in chosen)


def test_a_critical_pod_takes_as_few_places_as_it_needs_from_the_least_promised() -> None:
    critical = wanting("critical", CRITICAL, cpu="500m")
    both = {"cpu": "1", "memory": "1Mi"}
    guaranteed = wanting("guaranteed", 0, both, **both)
    assert victims_of(critical, guaranteed, wanting("small", cpu="200m"), wanting("large", cpu="800m")) == ["large"]
    assert victims_of(critical, guaranteed, wanting("important", CRITICAL, cpu="1")) == ["guaranteed"]
    assert victims_of(critical, wanting("important", CRITICAL, cpu="2")) is None
    assert victims_of(critical, wanting("a"), wanting("b", cpu="1"), wanting("c", cpu="100m")) == ["a"]


@pytest.fixture
def pods() -> list[Pod]:
    return []


@pytest.fixture
def preempted() -> list[str]:
    return []


@pytest.fixture
def gate(pods: list[Pod], preempted: list[str]) -> Gate:
    return Gate(lambda: NODE, lambda: pods, lambda of: None, lambda of: preempted.append(of.metadata.name))


def come(gate: Gate, pods: list[Pod], of: Pod) -> str:
    pods.append(of)
    found = gate.admit(of)
    return found[0] if found else ""


def test_of_two_that_arrive_together_the_second_is_too_much(gate: Gate, pods: list[Pod]) -> None:
    pods.extend([wanting("a", cpu="1500m"), wanting("b", cpu="1500m")])
    assert gate.admit(pods[0]) is None
    assert gate.admit(pods[1]) is not None
    gate.release("a")
    assert gate.admit(pods[1]) is None


def test_what_runs_keeps_its_room(gate: Gate, pods: list[Pod]) -> None:
    pods.append(wanting("runs", cpu="1500m"))
    gate.take("runs")
    assert come(gate, pods, wanting("late", cpu="1")) == "OutOfcpu"


def test_a_critical_pod_is_let_in_for_others(gate: Gate, pods: list[Pod], preempted: list[str]) -> None:
    assert come(gate, pods, wanting("a", cpu="1500m")) == ""
    assert come(gate, pods, wanting("critical", CRITICAL, cpu="1500m")) == ""
    assert preempted == ["a"]
    pods.append(again := wanting("too-much", CRITICAL, cpu="1"))
    assert gate.admit(again) == (
        "UnexpectedAdmissionError",
        "Unexpected error while attempting to recover from admission failure: preemption: error finding a set of pods "
        "to preempt: no set of running pods found to reclaim resources: [(res: cpu, q: 500), ]",
    )


def test_room_does_not_help_a_critical_pod_that_does_not_belong_here(gate: Gate, pods: list[Pod]) -> None:
    of = wanting("critical", CRITICAL, cpu="9")
    of.spec.nodeSelector = {"zone": "b"}
    assert come(gate, pods, of) == "NodeAffinity"


def test_pressure_comes_first() -> None:
    gate = Gate(lambda: NODE, list, lambda of: ("Evicted", "why"), lambda of: None)
    assert gate.admit(pod(Container(name="c", image="i"))) == ("Evicted", "why")
