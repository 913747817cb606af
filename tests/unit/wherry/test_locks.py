import fcntl
import os
from dataclasses import replace
from pathlib import Path

import pytest

from wherry.labs import Lab
from wherry.locks import alone
from wherry.troubles import Trouble


def is_free(place: Path) -> bool:
    descriptor = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def test_a_lab_is_held_for_as_long_as_the_block_runs(tmp_path: Path) -> None:
    lab = replace(Lab(), state=tmp_path / "state")
    with alone(lab):
        assert not is_free(lab.state)
    assert is_free(lab.state)


def test_trouble_lets_the_lab_go(tmp_path: Path) -> None:
    lab = replace(Lab(), state=tmp_path)
    with pytest.raises(Trouble), alone(lab):
        raise Trouble("lab", "something")
    assert is_free(lab.state)


def test_a_place_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Trouble, match="cannot be used"), alone(replace(Lab(), state=tmp_path / "file")):
        pass
