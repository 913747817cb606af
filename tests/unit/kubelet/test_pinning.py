"""Paths in volumes, walked without an engine: what they may lead to, and what not."""

import os
from pathlib import Path

import pytest

from kubelet.volumes.pinning import Pinning


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path / "volume"
    (path / "here").mkdir(parents=True)
    (tmp_path / "secret").write_text("none of theirs")
    (path / "absolute").symlink_to(tmp_path / "secret")
    (path / "climbing").symlink_to("../secret")
    (path / "above").symlink_to("..")
    (path / "inside").symlink_to("here")
    path.chmod(0o2777)
    return path


def test_a_link_may_lead_on_inside_of_the_volume(volume: Path) -> None:
    assert Pinning().pin(volume, "inside", volume.parent / "at") == volume / "here"


def test_what_is_missing_is_made_like_the_volumes_own_directory(volume: Path) -> None:
    assert Pinning().pin(volume, "inside/a/b", volume.parent / "at") == volume / "here/a/b"
    assert (volume / "here/a").stat().st_mode & 0o7777 == 0o2777


@pytest.mark.parametrize("inner", ["absolute", "climbing", "above/secret", "above/new", "inside/../../secret"])
def test_no_path_leads_out_of_the_volume(volume: Path, inner: str) -> None:
    with pytest.raises(OSError, match="link"):  # EXDEV: Invalid cross-device link
        Pinning().pin(volume, inner, volume.parent / "at")
    assert not (volume.parent / "new").exists()


def test_a_file_is_read_as_if_the_volume_was_the_root_directory(volume: Path) -> None:
    (volume / "here/file").write_text("ours")
    (volume / "rooted").symlink_to("/here/file")
    assert Pinning().read(volume, "rooted") == b"ours"
    with pytest.raises(FileNotFoundError):
        Pinning().read(volume, "climbing")


def test_a_pipe_holds_nobody_up(volume: Path) -> None:
    os.mkfifo(volume / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        Pinning().read(volume, "pipe")
