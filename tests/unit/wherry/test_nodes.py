from types import SimpleNamespace

import pytest

from wherry import cutting, nodes, powering
from wherry.cutting import Way, rules
from wherry.labs import Lab
from wherry.troubles import Trouble

LAB = Lab()


class Part:
    """A service's container."""

    def __init__(self, service, status="running", tables=()):
        self.labels, self.status, self.name = {"com.docker.compose.service": service}, status, f"wherry-{service}-1"
        self.tables = tables

    def exec_run(self, command):
        return SimpleNamespace(exit_code=int(command[-1] not in self.tables))


def engine(*parts):
    return SimpleNamespace(containers=SimpleNamespace(list=lambda **_: list(parts)))


def node(name, status="running", tables=()):
    return [Part(service, status, tables) for service in (name, f"{name}-kubelet", f"{name}-kube-proxy")]


def refused(act, parts, name="node1"):
    with pytest.raises(Trouble) as trouble:
        act(engine(*parts), LAB, name)
    return str(trouble.value)


def test_a_node_is_its_three_containers():
    found = nodes.find(engine(Part("etcd"), *node("node1"), *node("node2")), LAB, "node2")
    assert [p.name for p in found.parts] == ["wherry-node2-1", "wherry-node2-kubelet-1", "wherry-node2-kube-proxy-1"]


def test_an_unknown_node_is_told_from_those_that_there_are():
    told = refused(nodes.find, [Part("etcd"), *node("node10"), *node("node2")], "node3")
    assert told == "node node3: the lab has no such node\nWhat to do: Its nodes: node2, node10."
    assert refused(nodes.find, [Part("etcd"), *node("node1")], "etcd").startswith("node etcd: the lab has no such node")


def test_without_a_lab_there_are_no_nodes():
    assert refused(nodes.find, []) == "lab: it is not up\nWhat to do: scripts/up brings it up."


@pytest.mark.parametrize(
    ("act", "parts", "reason"),
    [
        (powering.stop, node("node1", "exited"), "it is stopped"),
        (powering.start, node("node1"), "it runs"),
        (cutting.cut, node("node1", "exited"), "it is stopped"),
        (cutting.cut, node("node1", tables=["wherry-cut"]), "it is cut off"),
        (cutting.mend, node("node1", "exited"), "it is stopped"),
        (cutting.mend, node("node1", tables=["wherry-cutters"]), "it is not cut off"),
    ],
)
def test_what_a_node_is_already_is_refused(act, parts, reason):
    assert refused(act, parts).splitlines()[0] == f"node node1: {reason}"


def test_both_ways_are_cut_or_one():
    both = rules("10.9.0", tuple(Way))
    assert "hook prerouting priority raw; ip saddr { 10.9.0.10-10.9.0.49, 10.9.0.60 } drop;" in both
    assert "hook postrouting priority 300; ip daddr { 10.9.0.10-10.9.0.49, 10.9.0.60 } drop;" in both
    assert "daddr" not in rules("10.9.0", (Way.IN,))
    assert "saddr" not in rules("10.9.0", (Way.OUT,))
