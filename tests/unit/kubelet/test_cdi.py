"""What containers get with devices, from the node's CDI files."""

import json
from pathlib import Path
from typing import Any

import pytest

from kubelet.devices.cdi import Library, parse
from kubelet.runtime.interfaces import EngineError, Mount, Spec
from kubelet.volumes.host_paths import HostPaths

BARE = Spec(name="c", image="i", labels={}, env=("PATH=/bin", "COLOUR=none"), groups=("7",))


def file(*devices: dict[str, Any], kind: str = "acme.example/lamp", **fields: Any) -> dict[str, Any]:
    return {"cdiVersion": "0.7.0", "kind": kind, "devices": list(devices), **fields}


def device(name: str, **edits: Any) -> dict[str, Any]:
    return {"name": name, "containerEdits": edits}


def write(directory: Path, name: str, content: dict[str, Any]) -> None:
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(json.dumps(content))


def given(tmp_path: Path, content: dict[str, Any], *names: str) -> Spec:
    write(tmp_path, "acme.json", content)
    return Library([str(tmp_path)]).inject(BARE, names or ["acme.example/lamp=a"])


def test_variables_of_the_file_and_of_the_device_replace_those_of_the_container(tmp_path: Path) -> None:
    content = file(device("a", env=["COLOUR=red"]), containerEdits={"env": ["COLOUR=any", "MAKER=acme"]})
    assert given(tmp_path, content).env == ("PATH=/bin", "COLOUR=red", "MAKER=acme")


def test_what_is_a_files_comes_once_for_all_its_devices(tmp_path: Path) -> None:
    shared = {"mounts": [{"hostPath": "/opt/acme", "containerPath": "/acme"}]}
    content = file(device("a", env=["A=1"]), device("b", env=["B=1"]), containerEdits=shared)
    found = given(tmp_path, content, "acme.example/lamp=a", "acme.example/lamp=b")
    assert found.mounts == (Mount("/opt/acme", "/acme"),)
    assert {"A=1", "B=1"} <= set(found.env)


@pytest.mark.parametrize(
    ("edits", "mounts"),
    [
        ({"mounts": [{"hostPath": "/a", "containerPath": "/b", "options": ["ro", "nosuid", "nodev", "rbind", "rslave"]}]},
         (Mount("/a", "/b", read_only=True, propagation="rslave"),)),
        ({"mounts": [{"hostPath": "/a", "containerPath": "/b", "type": "bind", "options": ["bind", "rw"]}]},
         (Mount("/a", "/b"),)),
        ({"deviceNodes": [{"path": "/dev/null"}]}, (Mount("/dev/null", "/dev/null", device=True),)),
        ({"deviceNodes": [{"path": "/dev/x", "hostPath": "/dev/null", "permissions": "rw", "type": "c", "major": 1, "minor": 3}]},
         (Mount("/dev/null", "/dev/x", device=True, permissions="rw"),)),
    ],
)  # fmt: skip
def test_mounts_and_nodes_become_the_engines(tmp_path: Path, edits: dict[str, Any], mounts: tuple[Mount, ...]) -> None:
    assert given(tmp_path, file(device("a", **edits))).mounts == mounts


def test_a_mount_takes_the_place_of_one_at_the_same_path(tmp_path: Path) -> None:
    write(tmp_path, "a.json", file(device("a", mounts=[{"hostPath": "/new", "containerPath": "/data"}])))
    before = Spec(name="c", image="i", labels={}, mounts=(Mount("/old", "/data"), Mount("/x", "/y")))
    found = Library([str(tmp_path)]).inject(before, ["acme.example/lamp=a"])
    assert found.mounts == (Mount("/x", "/y"), Mount("/new", "/data"))


def test_groups_are_added_but_for_roots(tmp_path: Path) -> None:
    assert given(tmp_path, file(device("a", additionalGids=[0, 44, 7]))).groups == ("7", "44")


def test_paths_are_those_of_the_node(tmp_path: Path) -> None:
    edits = {"mounts": [{"hostPath": "/var/lib/kubelet/plugins/acme/file", "containerPath": "/file"}]}
    write(tmp_path / "cdi", "acme.json", file(device("a", **edits)))
    paths = HostPaths.parse(f"/var/lib/kubelet=/data/node1,/var/run/cdi={tmp_path}/cdi")
    library = Library(["/etc/cdi", "/var/run/cdi"], paths, machine=None)
    found = library.inject(BARE, ["acme.example/lamp=a"])
    assert found.mounts == (Mount("/data/node1/plugins/acme/file", "/file"),)


def test_files_of_the_machine_are_read_under_its_root_directory(tmp_path: Path) -> None:
    write(tmp_path / "cdi", "acme.json", file(device("a", env=["A=1"])))
    assert "A=1" in Library(["/cdi"], machine=tmp_path).inject(BARE, ["acme.example/lamp=a"]).env


@pytest.mark.parametrize(
    ("edits", "why"),
    [
        ({"hooks": [{"hookName": "createContainer", "path": "/bin/ldconfig"}]}, "cannot do what hooks of a CDI file ask"),
        ({"intelRdt": {"closID": "x"}}, "cannot do what intelRdt of a CDI file ask"),
        ({"netDevices": [{"hostInterfaceName": "eth0", "name": "eth1"}]}, "cannot do what netDevices of a CDI file ask"),
        ({"mounts": [{"hostPath": "a", "containerPath": "/b", "type": "tmpfs"}]}, "cannot make a mount of type tmpfs"),
        ({"mounts": [{"hostPath": "/a", "containerPath": "/b", "options": ["noexec"]}]}, "cannot mount /a with noexec"),
        ({"deviceNodes": [{"path": "/dev/none-such"}]}, "failed to stat CDI host device '/dev/none-such'"),
        ({"deviceNodes": [{"path": "/dev/null", "type": "b"}]}, "not with type b, but c"),
        ({"deviceNodes": [{"path": "/dev/null", "minor": 9}]}, "not with minor 9, but 3"),
        ({"deviceNodes": [{"path": "/etc/passwd"}]}, "/etc/passwd is not a device"),
    ],
)  # fmt: skip
def test_what_the_engine_cannot_do_is_refused(tmp_path: Path, edits: dict[str, Any], why: str) -> None:
    with pytest.raises(EngineError, match=why) as refused:
        given(tmp_path, file(device("a", **edits)))
    assert str(refused.value).startswith("CDI device injection failed: ")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (file(device("a"), kind="lamp"), "invalid kind 'lamp'"),
        (file(device("a"), kind="acme.example/"), "invalid kind"),
        (file(device("a"), kind="9.example/lamp"), "invalid kind"),
        (file(), "no devices"),
        (file(device("a"), device("a")), "multiple device 'a'"),
        (file(device("-a")), "invalid device name '-a'"),
        (file(device("a"), cdiVersion="9.0.0"), "invalid version '9.0.0'"),
        (file(device("a"), colour="red"), "unknown field `colour`"),
        (file(device("a", wires=[])), "unknown field `wires`"),
        (file(device("a", env=["NAME"])), "invalid environment variable 'NAME'"),
        (file(device("a", mounts=[{"hostPath": "/a", "containerPath": ""}])), "empty host or container path"),
        (file(device("a", deviceNodes=[{"path": "/dev/a", "permissions": "x"}])), "invalid device node '/dev/a'"),
        ({"kind": "acme.example/lamp", "devices": []}, "missing required field `cdiVersion`"),
    ],
)
def test_a_file_that_is_wrong_has_no_devices(tmp_path: Path, content: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(json.dumps(content).encode())
    with pytest.raises(EngineError, match=r"unresolvable CDI devices acme.example/lamp=a"):
        given(tmp_path, content)


def test_yaml_is_read_too_and_other_files_are_not(tmp_path: Path) -> None:
    text = 'cdiVersion: "1.0.0"\nkind: acme.example/lamp\ndevices:\n- name: a\n  containerEdits: {env: [A=1]}\n'
    (tmp_path / "acme.yaml").write_text(text)
    (tmp_path / "acme.txt").write_text(text.replace("name: a", "name: b"))
    library = Library([str(tmp_path), str(tmp_path / "none")])
    assert "A=1" in library.inject(BARE, ["acme.example/lamp=a"]).env
    with pytest.raises(EngineError, match=r"unresolvable CDI devices acme.example/lamp=b, x"):
        library.inject(BARE, ["acme.example/lamp=a", "acme.example/lamp=b", "x"])


def test_a_later_directory_counts_more_and_within_one_nobody_does(tmp_path: Path) -> None:
    etc, run = tmp_path / "etc", tmp_path / "run"
    write(etc, "a.json", file(device("a", env=["FROM=etc"])))
    write(run, "a.json", file(device("a", env=["FROM=run"])))
    library = Library([str(etc), str(run)])
    assert "FROM=run" in library.inject(BARE, ["acme.example/lamp=a"]).env
    write(run, "b.json", file(device("a", env=["FROM=other"])))
    with pytest.raises(EngineError, match="unresolvable"):
        library.inject(BARE, ["acme.example/lamp=a"])


@pytest.mark.parametrize(
    ("path", "real"),
    [
        ("/var/lib/kubelet", "/data/node1"),
        ("/var/lib/kubelet/plugins", "/data/node1/plugins"),
        ("/var/lib/kubelet/pods/", "/data/own/"),
        ("/var/lib/kubelets", "/var/lib/kubelets"),
        ("/", "/"),
    ],
)
def test_the_longest_path_that_was_moved_counts(path: str, real: str) -> None:
    paths = HostPaths.parse("/var/lib/kubelet=/data/node1,/var/lib/kubelet/pods=/data/own")
    assert paths.real(path).rstrip("/") == real.rstrip("/")


def test_a_path_that_is_not_absolute_cannot_be_moved() -> None:
    with pytest.raises(ValueError, match="is not /path=/elsewhere"):
        HostPaths.parse("/var/lib/kubelet=data")
