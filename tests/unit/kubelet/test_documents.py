"""Between the engine's JSON and the kubelet's types."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from kubelet.config import parse
from kubelet.runtime import documents, streams
from kubelet.runtime.interfaces import Amounts, Mount, Spec, State
from machinery.testing import settle


def test_a_spec_becomes_a_create_request() -> None:
    spec = Spec(
        name="k8s_a", image="app:1", labels={"l": "1"}, entrypoint=("run",), env=("A=1",), network="container:x",
        ipc="container:x", cpu_quota=50_000, memory=1024, hostname="web",
        mounts=(Mount("/a", "/b", True), Mount("vol", "/m", tmpfs=True), Mount("/new", "/n", create=True),
            Mount("/dev/a", "/dev/b", device=True), Mount("/dev/c", "/dev/c", device=True, permissions="rw")),
        security=("systempaths=unconfined", "seccomp=unconfined"),
    )  # fmt: skip
    document = documents.container(spec)
    host = document["HostConfig"]
    assert (document["Entrypoint"], "Cmd" in document, document["Hostname"]) == (["run"], False, "web")
    assert (host["NetworkMode"], host["CpuPeriod"], host["CpuQuota"]) == ("container:x", 100_000, 50_000)
    assert (host["Memory"], host["MemorySwap"]) == (1024, 1024)
    assert (host["SecurityOpt"], host["MaskedPaths"], host["ReadonlyPaths"]) == (["seccomp=unconfined"], [], [])
    assert host["Mounts"][0] == {"Source": "/a", "Target": "/b", "ReadOnly": True, "Type": "bind"}
    assert host["Mounts"][1]["VolumeOptions"]["DriverConfig"]["Options"]["type"] == "tmpfs"
    assert host["Binds"] == ["/new:/n"]
    assert host["Devices"] == [
        {"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "rwm"},
        {"PathOnHost": "/dev/c", "PathInContainer": "/dev/c", "CgroupPermissions": "rw"},
    ]  # fmt: skip
    assert len(host["Mounts"]) == 2


INSPECTED = {
    "Id": "abc", "Created": "2026-01-01T00:00:00.123456789Z", "Image": "sha256:1",
    "Config": {"Image": "app:1", "Labels": {"l": "1"}, "StopSignal": "SIGQUIT", "Tty": True},
    "State": {"Status": "exited", "Running": False, "ExitCode": 137, "OOMKilled": True, "Pid": 0,
              "StartedAt": "2026-01-01T00:00:01Z", "FinishedAt": "2026-01-01T00:00:02.5Z"},
}  # fmt: skip


def test_an_ended_container_is_read() -> None:
    record = documents.record(INSPECTED)
    assert (record.state, record.exit_code, record.oom_killed, record.stop_signal) == (
        State.EXITED,
        137,
        True,
        "SIGQUIT",
    )
    assert record.finished_at - record.started_at == 1.5
    assert record.ended


def test_a_container_that_could_not_start_has_ended() -> None:
    state = {"Status": "created", "Error": "no such file", "ExitCode": 127, "StartedAt": "0001-01-01T00:00:00Z"}
    record = documents.record(INSPECTED | {"State": state})
    assert (record.state, record.started_at, record.ended) == (State.CREATED, 0.0, True)


def test_a_running_container_has_no_end() -> None:
    state = {
        "Status": "running",
        "Running": True,
        "Pid": 7,
        "StartedAt": "2026-01-01T00:00:01Z",
        "FinishedAt": "2025-01-01T00:00:00Z",
    }
    assert documents.record(INSPECTED | {"State": state}).finished_at == 0.0


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for each in data:
        yield each


async def test_multiplexed_output_is_split_wherever_it_is_cut() -> None:
    whole = b"\1\0\0\0\0\0\0\2hi" + b"\2\0\0\0\0\0\0\3err"
    for cut in range(len(whole)):
        found = [f async for f in streams.frames(pieces(whole[:cut], whole[cut:]))]
        assert found == [(1, b"hi"), (2, b"err")]


async def test_output_that_is_there_already_comes_as_one() -> None:
    one, two, error = b"\1\0\0\0\0\0\0\1a", b"\1\0\0\0\0\0\0\1b", b"\2\0\0\0\0\0\0\1x"
    found = [f async for f in streams.frames(pieces(one + two + error + one[:4], one[4:], two))]
    assert found == [(1, b"ab"), (2, b"x"), (1, b"a"), (1, b"b")]


async def test_chunks_that_are_there_already_come_as_one() -> None:
    whole = b"2\r\nhi\r\n3;a=b\r\n\r\n!\r\n0\r\n\r\n"
    for cut in range(1, len(whole)):
        reader = asyncio.StreamReader()
        reader.feed_data(whole[:cut])
        body = streams.dechunked(reader)
        first = asyncio.ensure_future(anext(body))
        await settle()
        reader.feed_data(whole[cut:])
        found = [await first, *[piece async for piece in body]]
        assert found == ([b"hi", b"\r\n!"] if 7 <= cut < 19 else [b"hi\r\n!"]), cut


async def test_lines_are_joined_across_pieces() -> None:
    assert [line async for line in streams.lines(pieces(b'{"a"', b":1}\n{}\n", b"\n"))] == [b'{"a":1}', b"{}"]


def test_an_update_leaves_no_limit_standing_that_is_not_wanted() -> None:
    assert documents.update(Amounts(2, 0, 2**20)) == {
        "CpuShares": 2, "CpuPeriod": 100_000, "CpuQuota": -1, "Memory": 2**20, "MemorySwap": 2**20,
    }  # fmt: skip
    assert Amounts.parse(str(Amounts(1, 2, 3))) == Amounts(1, 2, 3)


@pytest.mark.parametrize(
    ("name", "repository", "tag"),
    [
        ("app", "app", "latest"),
        ("a.b:5000/team/app", "a.b:5000/team/app", "latest"),
        ("a.b:5000/app:1", "a.b:5000/app", "1"),
        ("app@sha256:12", "app", "sha256:12"),
        ("app:1@sha256:12", "app", "sha256:12"),
    ],
)
def test_a_pull_names_one_tag_or_digest(name: str, repository: str, tag: str) -> None:
    assert documents.pull(name) == {"fromImage": repository, "tag": tag}


def test_flags_become_a_config() -> None:
    config = parse(
        ["--kubeconfig", "/k", "--hostname-override", "Node1", "--node-ip", "10.0.0.1", "--node-labels", "a=1,b="]
    )
    assert (config.node, config.address, config.labels) == ("node1", "10.0.0.1", {"a": "1", "b": ""})
    assert (str(config.root), config.unreachable) == (
        "/var/lib/wherry/kubelet/node1",
        ("10.244.0.0/16", "10.96.0.0/16"),
    )


@pytest.mark.parametrize(
    ("flags", "path", "real"),
    [
        ([], "/var/lib/kubelet/plugins", "/data/plugins"),
        ([], "/var/run/cdi", "/var/run/cdi"),
        (["--node-container", "node1"], "/var/run/cdi", "/data/cdi"),
        (["--node-container", "node1"], "/run/cdi/a.json", "/data/cdi/a.json"),
        (["--node-container", "node1", "--host-path-map="], "/var/lib/kubelet", "/var/lib/kubelet"),
        (["--host-path-map=/a=/b,/c=/d"], "/c/x", "/d/x"),
        (["--root-dir", "/var/lib/kubelet"], "/var/lib/kubelet/plugins", "/var/lib/kubelet/plugins"),
    ],
)
def test_paths_of_the_machine_that_a_node_has_for_itself(flags: list[str], path: str, real: str) -> None:
    config = parse(["--kubeconfig", "/k", "--node-ip", "10.0.0.1", "--root-dir", "/data", *flags])
    assert config.host_paths.real(path) == real


@pytest.mark.parametrize(
    "wrong",
    [
        ["--node-ip", "x"],
        ["--node-ip", "10.0.0.1", "--node-labels", "a"],
        ["--node-ip", "10.0.0.1", "--host-path-map", "/a"],
    ],
)
def test_wrong_flags_are_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--kubeconfig", "/k", *wrong])
    assert "error:" in capsys.readouterr().err
