"""Who a container's first process is said to be, of made-up files of the kernel."""

from dataclasses import replace
from pathlib import Path

import pytest

from api.types import ContainerStatus, ContainerUser, LinuxContainerUser
from kubelet.pods.caches import Cache
from kubelet.runtime.identities import identity
from kubelet.runtime.interfaces import Identity
from kubelet.runtime.simulated import Simulated
from kubelet.syncing.statuses import pod_status
from tests.unit.kubelet.builders import NOW, exited, pause, pod, running, view

STATUS = "Name:\tserver\nUid:\t1000\t0\t0\t0\nGid:\t3000\t3000\t3000\t3000\nGroups:\t3000 50000 \n"
WHO = Identity(1000, 3000, (3000, 50000))
TOLD = ContainerUser(linux=LinuxContainerUser(uid=1000, gid=3000, supplementalGroups=[3000, 50000]))


@pytest.fixture
def processes(tmp_path: Path) -> Path:
    (tmp_path / "11").mkdir()
    (tmp_path / "11" / "status").write_text(STATUS)
    (tmp_path / "11" / "cgroup").write_text("4:memory:/kubepods/podu1/main0\n")
    return tmp_path


def told(*records: object, **fields: object) -> ContainerUser | None:
    (status,) = pod_status(view(pod(**fields), pause(), *records)).containerStatuses  # type: ignore[arg-type]
    return status.user


def test_the_users_that_a_process_began_with_are_its_real_ones(processes: Path) -> None:
    assert identity(11, "main0", processes) == WHO


def test_another_process_of_the_same_number_is_nobody(processes: Path) -> None:
    assert identity(11, "other0", processes) is None
    assert identity(12, "main0", processes) is None


def test_the_status_tells_who_a_container_runs_as() -> None:
    assert told(running(identity=WHO)) == TOLD
    assert told(running()) is None


def test_what_was_told_of_a_container_stays_told_of_that_one_alone() -> None:
    of = pod()
    of.status.containerStatuses = [ContainerStatus(name="main", containerID="docker://main0", user=TOLD)]
    for record, expected in ((exited(), TOLD), (running(attempt=1), None)):
        (status,) = pod_status(view(of, pause(), record)).containerStatuses
        assert status.user == expected


async def test_what_a_process_becomes_later_is_not_who_it_began_as() -> None:
    engine = Simulated("c", "n")
    cache = Cache(engine)
    cache.put(running(identity=WHO))
    cache.put(running(identity=Identity(0, 0), started_at=NOW))
    found = cache.get("main0")
    assert found is not None
    assert found.identity == WHO
    cache.put(exited())
    assert cache.get("main0") == replace(exited(), identity=WHO)
    engine.close()
