"""This machine as a Node."""

from pathlib import Path
from typing import Any

import pytest

from api import errors, meta
from api.types import Lease, Node, NodeCondition, NodeStatus, ObjectMeta
from kubelet.config import parse
from kubelet.nodes import machines
from kubelet.nodes.capacities import promises
from kubelet.nodes.conditions import Health, conditions
from kubelet.nodes.machines import Machine
from kubelet.nodes.registering import Identity, Registering
from kubelet.runtime.interfaces import Image, Version
from kubelet.runtime.simulated import Simulated, SimulatedNetwork
from machinery.testing import FakeClock

MACHINE = Machine(
    cpus=2, memory=4 * 2**30, storage=10 * 2**30, huge_pages=(("hugepages-2Mi", 0),), os_image="Debian", kernel="6.1",
    machine_id="m", boot_id="b", system_uuid="s",
)  # fmt: skip
PROMISED = promises(machines.capacity(MACHINE, 110), parse(["--kubeconfig", "k", "--node-ip", "10.0.0.1"]).resources)
GOOD = Health(1_700_000_000.0)


def by_type(found: list[NodeCondition]) -> dict[str, tuple[str, str, str]]:
    return {c.type or "": (c.status or "", c.reason, c.message) for c in found}


def test_a_healthy_node_says_so_in_upstreams_words() -> None:
    assert by_type(conditions(Node(), GOOD)) == {
        "MemoryPressure": ("False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        "DiskPressure": ("False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        "PIDPressure": ("False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        "Ready": ("True", "KubeletReady", "kubelet is posting ready status"),
    }


def test_a_node_under_pressure_says_which() -> None:
    found = by_type(conditions(Node(), Health(0, {"MemoryPressure", "DiskPressure"}, ("no network", "no engine"))))
    assert found["MemoryPressure"][0] == found["DiskPressure"][0] == "True"
    assert found["Ready"] == ("False", "KubeletNotReady", "[no network, no engine]")


def test_the_conditions_of_others_stay() -> None:
    node = Node(status=NodeStatus(conditions=[NodeCondition(type="NetworkUnavailable", status="False")]))
    assert "NetworkUnavailable" in by_type(conditions(node, GOOD))


def test_a_transition_is_dated_and_a_heartbeat_is_not_one() -> None:
    first = Node(status=NodeStatus(conditions=conditions(Node(), GOOD)))
    later = conditions(first, Health(GOOD.now + 60, (), ("down",)))
    ready = next(c for c in later if c.type == "Ready")
    memory = next(c for c in later if c.type == "MemoryPressure")
    assert (memory.lastTransitionTime, memory.lastHeartbeatTime) == ("2023-11-14T22:13:20Z", "2023-11-14T22:14:20Z")
    assert ready.lastTransitionTime == "2023-11-14T22:14:20Z"


def test_capacity_and_what_of_it_pods_may_have() -> None:
    assert machines.capacity(MACHINE, 110) == {
        "cpu": "2", "memory": "4194304Ki", "ephemeral-storage": "10485760Ki", "pods": "110", "hugepages-2Mi": "0",
    }  # fmt: skip
    allocatable = PROMISED.allocatable
    assert (allocatable["memory"], allocatable["ephemeral-storage"]) == ("4091904Ki", "9663676400")


def test_the_facts_name_the_engine_and_the_largest_images_first() -> None:
    images = [Image("1", ("small:1",), 1), Image("2", ("large:1",), 9), Image("3", (), 99)]
    status = machines.facts(MACHINE, "node1", "10.0.0.1", 10250, PROMISED, Version("docker", "20.10"), images)
    assert [(a.type, a.address) for a in status.addresses] == [("InternalIP", "10.0.0.1"), ("Hostname", "node1")]
    assert status.nodeInfo.containerRuntimeVersion == "docker://20.10"
    assert [i.names for i in status.images] == [["large:1"], ["small:1"]]
    assert status.daemonEndpoints.kubeletEndpoint.Port == 10250


def test_this_machine_can_be_looked_at(tmp_path: Path) -> None:
    found = machines.machine(tmp_path, "node1")
    assert found.cpus > 0
    assert found.memory > 0
    assert found.machine_id != machines.machine(tmp_path, "node2").machine_id


class Server:
    """As much of a client as registering needs: it keeps objects by type."""

    def __init__(self) -> None:
        self.objects: dict[type[Any], Any] = {}
        self.status_writes = 0

    async def get(self, what: type[Any], name: str, namespace: str = "") -> Any:
        if what not in self.objects:
            raise errors.not_found("nodes", name)
        return meta.clone(self.objects[what])

    async def create(self, obj: Any) -> Any:
        if type(obj) in self.objects:
            raise errors.already_exists("nodes", obj.metadata.name)
        self.objects[type(obj)] = meta.clone(obj)
        return obj

    async def update_status(self, obj: Any) -> Any:
        self.status_writes += 1
        self.objects[type(obj)] = meta.clone(obj)
        return obj

    async def patch(self, what: type[Any], name: str, namespace: str, patch: Any) -> Any:
        found = await self.get(what, name)
        if what is Lease:
            found.spec.renewTime = patch["spec"]["renewTime"]
        else:
            found.metadata.labels |= patch["metadata"]["labels"]
        self.objects[what] = found
        return meta.clone(found)


class Events:
    def __init__(self) -> None:
        self.reasons: list[str] = []

    def event(self, regarding: Any, type: str, reason: str, message: str) -> None:  # noqa: A002
        self.reasons.append(reason)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def registering(server: Server, events: Events, tmp_path: Path) -> Registering:
    identity = Identity(
        name="node1",
        address="10.0.0.1",
        port=10250,
        grpc_port=10261,
        promised=PROMISED,
        labels={"zone": "a"},
        root=tmp_path,
    )
    clock = FakeClock()
    return Registering(
        server,
        Simulated("c", "node1", clock=clock),
        SimulatedNetwork(),
        events,
        identity,
        MACHINE,
        clock,  # type: ignore[arg-type]
    )


async def test_a_node_is_made_with_its_labels_and_becomes_ready_with_its_network(
    registering: Registering, server: Server, events: Events
) -> None:
    node = await registering.register()
    assert node.metadata.annotations["volumes.kubernetes.io/controller-managed-attach-detach"] == "true"
    assert node.metadata.labels["kubernetes.io/hostname"] == "node1"
    assert node.metadata.labels["zone"] == "a"
    assert by_type(node.status.conditions)["Ready"][1] == "KubeletNotReady"
    registering.networked()
    await registering._update()
    assert by_type(server.objects[Node].status.conditions)["Ready"][0] == "True"
    assert events.reasons == ["Starting", "NodeReady"]


async def test_a_status_that_is_the_same_is_not_written_again(registering: Registering, server: Server) -> None:
    await registering.register()
    registering.networked()
    await registering._update()
    await registering._update()
    assert server.status_writes == 1


async def test_an_existing_node_keeps_what_others_gave_it(registering: Registering, server: Server) -> None:
    await server.create(Node(metadata=ObjectMeta(name="node1", labels={"mine": "yes"})))
    node = await registering.register()
    assert (node.metadata.labels["mine"], node.metadata.labels["zone"]) == ("yes", "a")


async def test_what_others_give_a_node_to_give_away_stays_and_can_be_had(
    registering: Registering, server: Server
) -> None:  # fmt: skip
    await registering.register()
    server.objects[Node].status.capacity["example.com/gpu"] = "3"
    registering.networked()
    await registering._update()
    status = server.objects[Node].status
    assert (status.capacity["example.com/gpu"], status.allocatable["example.com/gpu"]) == ("3", "3")
    del status.capacity["example.com/gpu"]
    await registering._update()
    assert "example.com/gpu" not in server.objects[Node].status.allocatable


async def test_the_lease_is_made_once_and_renewed(registering: Registering, server: Server) -> None:
    await registering.register()
    await registering._renew()
    assert server.objects[Lease].spec.leaseDurationSeconds == 40
    server.objects[Lease].spec.renewTime = "old"
    await registering._renew()
    assert server.objects[Lease].spec.renewTime.startswith("2023-11-14T22:13:20")
