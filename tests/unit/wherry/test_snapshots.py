"""What a snapshot of a lab is refused for, and that it leaves nothing standing still."""

import os
import signal
from dataclasses import dataclass

import pytest

from wherry.snapshots import frozen, refuse_what_does_not_run
from wherry.troubles import Trouble


@dataclass
class Member:
    name: str
    status: str

    def pause(self) -> None:
        self.status = "paused"

    def unpause(self) -> None:
        self.status = "running"


def test_a_member_that_does_not_run_is_named() -> None:
    with pytest.raises(Trouble, match=r"lab-etcd1-1 does not run \(exited\)") as told:
        refuse_what_does_not_run([Member("lab-etcd-1", "running"), Member("lab-etcd1-1", "exited")])
    assert "scripts/up" in str(told.value)


def test_a_member_that_a_killed_save_has_left_frozen_is_told_how_to_thaw() -> None:
    with pytest.raises(Trouble, match="lab-etcd-1 is frozen") as told:
        refuse_what_does_not_run([Member("lab-etcd-1", "paused")])
    assert "docker unpause lab-etcd-1" in str(told.value)


def test_a_lab_that_runs_is_not_refused() -> None:
    refuse_what_does_not_run([Member("lab-etcd-1", "running")])


def test_nothing_stays_frozen_when_a_save_is_ended() -> None:
    members, before = [Member("etcd", "running"), Member("etcd1", "running")], signal.getsignal(signal.SIGTERM)

    def save() -> None:
        with frozen(members):
            assert [m.status for m in members] == ["paused", "paused"]
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        save()
    assert [m.status for m in members] == ["running", "running"]
    assert signal.getsignal(signal.SIGTERM) is before
