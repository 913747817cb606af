"""A lab with several of each part of the control plane."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from wherry.composing import Compose, document
from wherry.labs import PROJECT, Lab

TEMPLATE = yaml.safe_load((PROJECT / "compose.yaml").read_text())
SERVICES = document(TEMPLATE, 3, ha=True)["services"]


def addresses() -> list[str]:
    networks = [s["networks"]["lab"]["ipv4_address"] for s in SERVICES.values() if "lab" in s.get("networks", {})]
    return sorted(networks)


def test_there_are_three_members_and_servers_and_two_of_the_others() -> None:
    masters = [n for n in SERVICES if n.startswith(("etcd", "apiserver", "controller-manager", "scheduler"))]
    assert masters == [
        "etcd", "etcd1", "etcd2", "apiserver", "apiserver1", "apiserver2", "controller-manager", "controller-manager1",
        "scheduler", "scheduler1",
    ]  # fmt: skip


def test_each_has_an_address_of_its_own() -> None:
    assert len(set(addresses())) == len(addresses())


@pytest.mark.parametrize("name", ["etcd", "etcd1", "etcd2"])
def test_a_member_knows_itself_and_all_others(name: str) -> None:
    command = SERVICES[name]["command"]
    assert f"--name={name}" in command
    assert f"--initial-advertise-peer-urls=https://{name}:2380" in command
    members = ",".join(f"{each}=https://{each}:2380" for each in ("etcd", "etcd1", "etcd2"))
    assert f"--initial-cluster={members}" in command
    assert SERVICES[name]["volumes"][0] == f"{name}:/var/lib/etcd"


def test_every_api_server_asks_every_member_and_has_the_name_that_components_ask_for() -> None:
    for number, name in enumerate(("apiserver", "apiserver1", "apiserver2")):
        server = SERVICES[name]
        assert "--etcd-servers=https://etcd:2379,https://etcd1:2379,https://etcd2:2379" in server["command"]
        assert f"--advertise-address=${{WHERRY_NETWORK:-10.123.0}}.{20 + number}" in server["command"]
        assert server["networks"]["lab"]["aliases"] == ["apiserver"]


def test_leaders_are_told_apart() -> None:
    told = [f for n in ("scheduler", "scheduler1") for f in SERVICES[n]["command"] if "identity" in f]
    assert told == ["--leader-elect-identity=scheduler", "--leader-elect-identity=scheduler1"]


def test_the_balancer_alone_publishes_ports() -> None:
    alone = [port for service in TEMPLATE["services"].values() for port in service.get("ports", [])]
    assert {name: s["ports"] for name, s in SERVICES.items() if s.get("ports")} == {"balancer": alone}


def test_the_balancer_looks_where_the_servers_are() -> None:
    told = (PROJECT / "images" / "balancer" / "haproxy.cfg").read_text()
    for name in ("apiserver", "apiserver1", "apiserver2", "scheduler1", "controller-manager1"):
        last = SERVICES[name]["networks"]["lab"]["ipv4_address"].rsplit(".", 1)[1]
        assert f'server {name} "${{WHERRY_NETWORK}}.{last}:' in told


def test_a_choice_of_masters_is_remembered_and_taken_back(tmp_path: Path) -> None:
    compose = Compose(replace(Lab(), state=tmp_path))
    assert not compose.has_several_masters()
    compose.choose(3, ha=True)
    assert compose.has_several_masters()
    assert compose.nodes() == 3
    compose.choose(2)
    assert not compose.has_several_masters()
