"""What a node has, and what of it pods may have."""

import pytest

from kubelet.config import parse
from kubelet.eviction import thresholds
from kubelet.eviction.thresholds import Threshold, Value
from kubelet.nodes.capacities import Promises, Resources, promises

HERE = {"cpu": "2", "memory": "4194304Ki", "ephemeral-storage": "10485760Ki", "pods": "110", "hugepages-2Mi": "0"}


def flags(*given: str) -> Resources:
    return parse(["--kubeconfig", "k", "--node-ip", "10.0.0.1", *given]).resources


def promised(*given: str) -> Promises:
    return promises(HERE, flags(*given))


def test_a_node_may_have_less_than_its_machine_and_more_kinds_of_things() -> None:
    found = promised("--capacity", "cpu=1500m,memory=1Gi,example.com/foo=3,pods=7", "--eviction-hard", "")
    assert found.capacity == HERE | {"cpu": "1500m", "memory": "1Gi", "example.com/foo": "3", "pods": "7"}
    assert found.allocatable == found.for_pods == found.capacity


def test_what_is_reserved_and_what_eviction_keeps_free_is_nobodys_to_request() -> None:
    found = promised(
        "--kube-reserved", "cpu=100m,memory=100Mi", "--system-reserved", "cpu=100m,ephemeral-storage=1Gi",
        "--eviction-hard", "memory.available<100Mi,nodefs.available<1Gi,imagefs.available<90%",
    )  # fmt: skip
    assert found.for_pods["cpu"] == found.allocatable["cpu"] == "1800m"
    assert found.for_pods["memory"] == f"{4194304 - 102400}Ki"
    assert found.allocatable["memory"] == f"{4194304 - 204800}Ki"
    assert found.allocatable["ephemeral-storage"] == f"{10485760 - 2 * 2**20}Ki"


def test_huge_pages_are_taken_from_the_memory() -> None:
    found = promised("--capacity", "hugepages-2Mi=1Gi", "--eviction-hard", "")
    assert found.allocatable["memory"] == f"{3 * 2**20}Ki"


def test_more_is_never_reserved_than_there_is() -> None:
    assert promised("--kube-reserved", "memory=1Ti").allocatable["memory"] == "0"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--capacity", "cpu=many"], "--capacity: quantities must match"),
        (["--kube-reserved", "pods=1"], "cannot reserve pods resource"),
        (["--eviction-hard", "disk<1Gi"], "unsupported eviction signal disk"),
        (["--eviction-hard", "memory.available<0"], "eviction threshold memory.available must be positive: 0"),
        (["--eviction-hard", "nodefs.available<101%"], "must be <= 100%: 101%"),
        (["--eviction-soft", "memory.available<1Gi"], "grace period must be specified for the soft eviction threshold"),
        (["--cgroups-per-qos=false"], "not supported unless Cgroups Per QOS feature is turned on"),
    ],
)
def test_flags_that_make_no_sense_are_refused(
    given: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    with pytest.raises(SystemExit):
        flags(*given)
    assert message in capsys.readouterr().err


def test_thresholds_are_read_as_upstream_writes_them() -> None:
    found = thresholds.parse(
        "memory.available<100Mi,nodefs.available<10%,pid.available<100%", "memory.available<1Gi",
        "memory.available=1m30s", "memory.available=50Mi",
    )  # fmt: skip
    share = thresholds.parse("nodefs.available<10%")[0].value.share
    assert found == (
        Threshold("memory.available", Value("100Mi"), 0.0, Value("50Mi")),
        Threshold("nodefs.available", Value(share=share)),
        Threshold("memory.available", Value("1Gi"), 90.0, Value("50Mi")),
    )
    assert Value(share=share).of(10 * 2**30) == 1073741840


def test_pods_are_evicted_before_they_use_up_what_they_may_have_together() -> None:
    signals = [t.signal for t in flags("--eviction-hard", "memory.available<100Mi").thresholds]
    assert signals == ["memory.available", "allocatableMemory.available"]
    without = flags("--eviction-hard", "memory.available<100Mi", "--enforce-node-allocatable", "none")
    assert [t.signal for t in without.thresholds] == ["memory.available"]
