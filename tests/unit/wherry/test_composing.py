from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from wherry.composing import Compose, document, explained
from wherry.labs import PROJECT, Lab

TEMPLATE = yaml.safe_load((PROJECT / "compose.yaml").read_text())
NODE = TEMPLATE["services"]["node1"]
COMPONENTS = {name: s for name, s in TEMPLATE["services"].items() if s["image"].startswith("wherry/component:")}


@pytest.fixture
def compose(tmp_path: Path) -> Compose:
    return Compose(replace(Lab(), state=tmp_path))


def test_three_nodes_are_the_file_itself() -> None:
    assert document(TEMPLATE, 3) == TEMPLATE


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_node_has_its_three_services(count: int) -> None:
    services = document(TEMPLATE, count)["services"]
    named = [name for name in services if name.startswith("node")]
    assert named == [f"node{n}{part}" for n in range(1, count + 1) for part in ("", "-kubelet", "-kube-proxy")]


def test_a_further_node_differs_by_name_and_address_only() -> None:
    services = document(TEMPLATE, 12)["services"]
    told = yaml.safe_dump({k: v for k, v in services.items() if k.split("-")[0] == "node12"})
    assert "10.123.0}.112" in told
    back = told.replace("node12", "node1").replace("}.112", "}.101")
    assert yaml.safe_load(back) == {k: v for k, v in services.items() if k.split("-")[0] == "node1"}


def test_certificates_are_made_for_every_node() -> None:
    assert document(TEMPLATE, 4)["services"]["certificates"]["command"][-4:] == ["node1", "node2", "node3", "node4"]


def test_a_choice_of_nodes_is_remembered_and_taken_back(compose: Compose) -> None:
    assert compose.nodes() == 3
    compose.choose(5)
    assert compose.nodes() == 5
    assert compose.file == compose.generated
    compose.choose(3)
    assert compose.nodes() == 3
    assert compose.file == PROJECT / "compose.yaml"


def test_every_service_has_a_health_check_and_is_restarted() -> None:
    lasting = {name: s for name, s in TEMPLATE["services"].items() if name != "certificates"}
    assert all("healthcheck" in service for service in lasting.values())
    assert {service["restart"] for service in lasting.values()} == {"unless-stopped"}


def test_nothing_is_privileged() -> None:
    assert not any("privileged" in service for service in TEMPLATE["services"].values())


def test_only_kubelets_have_the_engines_socket() -> None:
    holders = {name for name, s in TEMPLATE["services"].items() if "docker.sock" in str(s.get("volumes"))}
    assert holders == {"node1-kubelet", "node2-kubelet", "node3-kubelet"}


def test_ports_are_published_on_loopback_only() -> None:
    ports = [port for service in TEMPLATE["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_a_component_sees_its_own_certificates_only() -> None:
    for name, service in COMPONENTS.items():
        mounted = [v for v in service["volumes"] if "/pki" in v]
        # Several of one kind share theirs.
        kind = "cluster-dns" if name == "cluster-dns1" else name
        own = "/pki:/pki" if name == "certificates" else f"/pki/{kind}:/etc/wherry/pki:ro"
        assert len(mounted) == 1
        assert mounted[0].endswith(own)


def test_a_node_closes_the_cluster_ranges_before_anything_else() -> None:
    assert NODE["command"] == ["--unreachable", "10.96.0.0/16", "10.244.0.0/16", "169.254.0.0/16"]
    assert NODE["cap_add"] == ["NET_ADMIN"]


@pytest.mark.parametrize(
    "said",
    [
        "Error starting userland proxy: listen tcp4 127.0.0.1:6444: bind: address already in use",
        "programming external connectivity: Bind for 127.0.0.1:6444 failed: port is already allocated",
    ],
)
def test_a_taken_port_is_told_with_the_setting_that_chooses_another(said: str) -> None:
    told = explained(f"Container x Starting\n{said}\n", Lab())
    assert told
    assert told[0] == "port 6444 of this machine is taken"
    assert told[1].endswith("or run scripts/up with another WHERRY_GRPC_PORT.")


def test_a_taken_network_is_told_with_the_setting_that_chooses_another() -> None:
    told = explained("failed to create network: Pool overlaps with other one on this address space", Lab())
    assert told
    assert told[0].startswith("another network has addresses of 10.123.0.0/24")
    assert "WHERRY_NETWORK" in told[1]


def test_what_nobody_has_taken_is_left_to_composes_own_words() -> None:
    assert explained("no such service: x", Lab()) is None
