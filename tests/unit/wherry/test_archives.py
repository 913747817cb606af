"""The file of a snapshot: what it keeps, and what is not taken for one."""

import io
import json
import stat
import tarfile
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from wherry import archives, snapshots
from wherry.archives import Description, Snapshot
from wherry.labs import Lab
from wherry.troubles import Trouble

OF = Description("lab", "10.9.8", 2, False, "2026-01-01T00:00:00Z")


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    place = tmp_path / "pki"
    (place / "admin").mkdir(parents=True)
    for name, mode in (("tls.key", 0o600), ("tls.crt", 0o644), (".tls.crt.partial", 0o644)):
        (place / "admin" / name).write_text(name)
        (place / "admin" / name).chmod(mode)
    return place


@pytest.fixture
def saved(tmp_path: Path, pki: Path) -> Path:
    file = tmp_path / "saved"
    with archives.written(file, OF) as archive:
        archive.keys(pki)
        archive.stream("etcd/etcd.tar", io.BytesIO(b"database" * 100_000))
    return file


def made_of(file: Path, *members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE) -> Path:
    """A file with our first member and others."""
    with tarfile.open(file, "w:gz") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.type = kind if name != archives.DESCRIPTION else tarfile.REGTYPE
            tar.addfile(member, io.BytesIO(content))
    return file


def test_what_was_saved_is_read_again(saved: Path, tmp_path: Path) -> None:
    snapshot = Snapshot(saved)
    assert snapshot.description == OF
    assert b"".join(snapshot.stream("etcd/etcd.tar")) == b"database" * 100_000
    snapshot.write_keys(tmp_path / "again")
    again = {p.name: (p.read_text(), stat.S_IMODE(p.stat().st_mode)) for p in (tmp_path / "again" / "admin").iterdir()}
    assert again == {"tls.key": ("tls.key", 0o600), "tls.crt": ("tls.crt", 0o644)}


def test_it_is_for_its_owner_only(saved: Path) -> None:
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600


def test_a_save_that_fails_leaves_the_file_of_before(saved: Path) -> None:
    before = saved.read_bytes()
    with pytest.raises(OSError, match="full"), archives.written(saved, OF):
        raise OSError("full")
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir() if "partial" in p.name] == []


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99])
def test_a_file_that_ends_early_is_refused(saved: Path, share: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(Trouble, match="is damaged, or no snapshot"):
        Snapshot(saved)


def test_a_file_with_a_flipped_bit_is_refused(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    content[-6] ^= 1  # of the check sum, so that everything can be unpacked and yet is not what was saved
    saved.write_bytes(content)
    with pytest.raises(Trouble, match="is damaged, or no snapshot"):
        Snapshot(saved)


@pytest.mark.parametrize(
    "members",
    [
        [("README", b"hello")],
        [(archives.DESCRIPTION, b"not JSON")],
        [(archives.DESCRIPTION, b"[]")],
        [(archives.DESCRIPTION, b'{"format": 1, "colour": "red"}')],
        [(archives.DESCRIPTION, json.dumps(asdict(OF)).encode()), ("pki/../../evil", b"")],
        [(archives.DESCRIPTION, json.dumps(asdict(OF)).encode()), ("/etc/evil", b"")],
    ],
    ids=["another archive", "no JSON", "no object", "other fields", "a way up", "an absolute path"],
)
def test_a_foreign_file_is_refused(tmp_path: Path, members: list[tuple[str, bytes]]) -> None:
    with pytest.raises(Trouble, match="is damaged, or no snapshot"):
        Snapshot(made_of(tmp_path / "foreign", *members))


def test_a_link_is_refused(tmp_path: Path) -> None:
    described = (archives.DESCRIPTION, json.dumps(asdict(OF)).encode())
    with pytest.raises(Trouble, match="is damaged, or no snapshot"):
        Snapshot(made_of(tmp_path / "foreign", described, ("pki/admin", b""), kind=tarfile.SYMTYPE))


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(Trouble, match="is damaged, or no snapshot"):
        Snapshot(tmp_path / "text")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match="cannot be read"):
        Snapshot(tmp_path / "missing")


def test_another_format_is_told_by_its_number(tmp_path: Path) -> None:
    described = (archives.DESCRIPTION, json.dumps({"format": 2}).encode())
    with pytest.raises(Trouble, match="has format 2"):
        Snapshot(made_of(tmp_path / "newer", described))


def test_a_lab_in_another_network_is_refused_before_anything_is_touched(saved: Path, tmp_path: Path) -> None:
    lab = replace(Lab(), state=tmp_path / "state", network="10.1.2")
    with pytest.raises(Trouble, match=r"10\.9\.8\.0/24, and this one is in 10\.1\.2\.0/24"):
        snapshots.restore(lab, saved, force=True)
    assert not lab.state.exists()


def test_a_file_does_not_stand_where_taking_the_lab_down_would_take_it(saved: Path) -> None:
    lab = replace(Lab(), state=saved.parent)
    with pytest.raises(Trouble, match="is removed with the lab"):
        snapshots.save(lab, saved.parent / "new", volumes=False)
    with pytest.raises(Trouble, match="is removed with the lab"):
        snapshots.restore(lab, saved, force=True)
    assert Snapshot(saved).description == OF


@pytest.mark.parametrize(("ha", "members"), [(False, ["etcd"]), (True, ["etcd", "etcd1", "etcd2"])])
def test_every_member_of_etcd_is_saved(ha: bool, members: list[str]) -> None:
    assert snapshots.etcd_members(ha=ha) == members
