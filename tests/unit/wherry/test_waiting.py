import pytest

from api import times
from api.types import Node, NodeCondition, NodeStatus
from wherry.waiting import is_ready


def node(status: str, at: float) -> Node:
    condition = NodeCondition(type="Ready", status=status, lastHeartbeatTime=times.format(at))
    return Node(status=NodeStatus(conditions=[condition]))


@pytest.mark.parametrize(
    ("status", "at", "ready"),
    [
        ("True", 1000, True),
        ("True", 2000, True),
        ("True", 999, False),
        ("False", 2000, False),
        ("Unknown", 2000, False),
    ],
)
def test_a_node_is_ready_if_its_present_kubelet_says_so(status: str, at: float, ready: bool) -> None:
    assert is_ready(node(status, at), since=1000.7) is ready


def test_a_node_that_has_said_nothing_is_not_ready() -> None:
    assert not is_ready(Node())
