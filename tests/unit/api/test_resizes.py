"""What counts of a pod whose resources change while it runs."""

import pytest

from api import resizes
from api.quotas import pods
from api.types import Container, ContainerStatus, Pod, PodCondition, PodSpec, PodStatus, ResourceRequirements


def pod(asked: str, has: str, promised: str, reason: str = "") -> Pod:
    told = ContainerStatus(
        name="main", allocatedResources={"cpu": promised},
        resources=ResourceRequirements(requests={"cpu": has}, limits={"cpu": has}),
    )  # fmt: skip
    wanted = ResourceRequirements(requests={"cpu": asked}, limits={"cpu": asked})
    pending = [PodCondition(type="PodResizePending", status="True", reason=reason)] if reason else []
    return Pod(
        spec=PodSpec(containers=[Container(name="main", resources=wanted)]),
        status=PodStatus(containerStatuses=[told], conditions=pending),
    )


@pytest.mark.parametrize(
    ("of", "requests", "limits"),
    [
        (pod("2", has="2", promised="2"), 2, 2),
        (pod("1", has="3", promised="1"), 3, 3),
        (pod("1", has="2", promised="4"), 4, 2),
        (pod("9", has="2", promised="2", reason="Deferred"), 9, 9),
        (pod("9", has="2", promised="2", reason="Infeasible"), 2, 2),
    ],
)
def test_a_container_counts_with_the_most_it_may_have(of: Pod, requests: int, limits: int) -> None:
    assert pods.requests(of, with_status=True)["cpu"].value == requests
    assert pods.limits(of, with_status=True)["cpu"].value == limits
    asked = of.spec.containers[0].resources.requests["cpu"]
    assert pods.requests(of)["cpu"].value == int(asked)


@pytest.mark.parametrize(("reason", "requests", "limits"), [("", 3, 4), ("Deferred", 3, 4), ("Infeasible", 2, 4)])
def test_a_pod_counts_as_a_whole_with_the_most_it_may_have(reason: str, requests: int, limits: int) -> None:
    of = pod("1", has="1", promised="1", reason=reason)
    of.spec.resources = ResourceRequirements(requests={"cpu": "3"}, limits={"cpu": "3"})
    of.status.resources = ResourceRequirements(requests={"cpu": "2"}, limits={"cpu": "4"})
    of.status.allocatedResources = {"cpu": "2"}
    assert resizes.is_resizing(of)
    assert pods.requests(of, with_status=True)["cpu"].value == requests
    assert pods.limits(of, with_status=True)["cpu"].value == limits
