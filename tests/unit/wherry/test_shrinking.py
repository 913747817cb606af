from api.types import Node, NodeAddress, NodeStatus, ObjectMeta
from wherry.labs import Lab
from wherry.shrinking import is_former


def node(name: str, address: str) -> Node:
    return Node(
        metadata=ObjectMeta(name=name), status=NodeStatus(addresses=[NodeAddress(type="InternalIP", address=address)])
    )


def test_a_node_that_the_lab_had_and_has_no_more_is_former() -> None:
    assert is_former(node("node4", "10.123.0.104"), Lab(), ["node1", "node2"])


def test_the_labs_nodes_and_other_peoples_stay() -> None:
    keep = ["node1", "node2"]
    assert not is_former(node("node2", "10.123.0.102"), Lab(), keep)
    assert not is_former(node("node4", "192.168.1.4"), Lab(), keep)
    assert not is_former(node("edge", "10.123.0.104"), Lab(), keep)
    assert not is_former(Node(metadata=ObjectMeta(name="node4")), Lab(), keep)
