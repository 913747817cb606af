"""What plug-ins are told, in which order, and what becomes of their answers; real ones are tried with real packets."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from api.types import Container, ContainerPort, ObjectMeta, Pod, PodSpec
from kubelet.network.cni import configurations
from kubelet.network.cni.attachments import address
from kubelet.network.cni.configurations import Unusable, parse
from kubelet.network.cni.networks import Plugins, abandon, capabilities
from kubelet.network.cni.plugins import PluginFailed
from kubelet.network.plumbing import NotReady
from kubelet.runtime.interfaces import ADDRESS, Record, State

# Writes down how it was called, and answers with the file of its name and verb, if there is one.
PLUGIN = """#!/bin/sh
cd "$(dirname "$0")"
name="$(basename "$0")"
printf '%s %s %s|%s|%s|%s|' "$name" "$CNI_COMMAND" "$CNI_CONTAINERID" "$CNI_NETNS" "$CNI_IFNAME" "$CNI_ARGS" >> calls
cat | tr -d '\\n' >> calls
echo >> calls
[ -e "$name.fails" ] && cat "$name.fails" && exit 1
[ "$CNI_COMMAND" = ADD ] && cat "$name.result"
exit 0
"""
RESULT = {"cniVersion": "1.0.0", "ips": [{"address": "10.9.0.7/24", "interface": 1}],
          "interfaces": [{"name": "cni0"}, {"name": "eth0", "sandbox": "/proc/7/ns/net"}]}  # fmt: skip
LIST = {
    "cniVersion": "1.0.0",
    "name": "net",
    "plugins": [{"type": "first", "ipam": {"type": "x"}}, {"type": "second", "capabilities": {"portMappings": True}}],
}


class Stage:
    """A kubelet's directories, and plug-ins that tell what they are told."""

    def __init__(self, place: Path) -> None:
        self.configuration, self.bin, self.records = place / "net.d", place / "bin", place / "cni"
        self.configuration.mkdir()
        self.bin.mkdir()
        for name in ("first", "second"):
            (self.bin / name).write_text(PLUGIN)
            (self.bin / name).chmod(0o755)
            (self.bin / f"{name}.result").write_text(json.dumps(RESULT))
        self.network = self.restarted()

    def restarted(self) -> Plugins:
        return Plugins(self.configuration, (str(self.bin),), self.records, ())

    def configure(self, file: str = "10-net.conflist", **changed: Any) -> None:
        (self.configuration / file).write_text(json.dumps({**LIST, **changed}))

    def calls(self) -> list[tuple[str, dict[str, Any]]]:
        """(name and verb, what it read), and forgets them."""
        file = self.bin / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        told = [line.split("|", 4) for line in lines]
        self.environments = [t[:4] for t in told]
        return [(" ".join(t[0].split()[:2]), json.loads(t[4])) for t in told]

    def verbs(self) -> list[str]:
        return [call for call, _ in self.calls()]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.fixture(autouse=True)
def _no_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pods' processes are this one, whose loopback device stays as it is."""
    monkeypatch.setattr("kubelet.network.cni.networks._raise_loopback", lambda pid: os.stat("/proc/self/ns/net").st_ino)


def pod(uid: str = "u1", *ports: ContainerPort, **annotations: str) -> Pod:
    return Pod(
        metadata=ObjectMeta(name="web", namespace="shop", uid=uid, annotations=annotations),
        spec=PodSpec(containers=[Container(name="c", ports=list(ports))]),
    )


def sandbox(id: str = "c1", uid: str = "u1", **labels: str) -> Record:  # noqa: A002
    return Record(id=id, state=State.RUNNING, pid=os.getpid(), labels={"io.kubernetes.pod.uid": uid, **labels})


async def test_plugins_are_executed_in_order_and_undone_in_reverse(stage: Stage) -> None:
    stage.configure()
    assert await stage.network.attach(pod(), sandbox(), "") == "10.9.0.7"
    (first, told), (second, handed) = stage.calls()
    assert (first, second) == ("first ADD", "second ADD")
    assert told == {"type": "first", "ipam": {"type": "x"}, "name": "net", "cniVersion": "1.0.0"}
    assert handed["prevResult"] == RESULT
    arguments = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u1"
    assert stage.environments[0] == ["first ADD c1", f"/proc/{os.getpid()}/ns/net", "eth0", arguments]
    await stage.network.detach("u1")
    undone = stage.calls()
    assert [call for call, _ in undone] == ["second DEL", "first DEL"]
    assert all(read["prevResult"] == RESULT for _, read in undone)
    await stage.network.detach("u1")
    assert stage.calls() == []


async def test_only_who_can_is_told_of_ports_and_bandwidth(stage: Stage) -> None:
    stage.configure()
    port = ContainerPort(containerPort=80, hostPort=8080, protocol="UDP", hostIP="127.0.0.1")
    of = pod("u1", port, ContainerPort(containerPort=81), **{"kubernetes.io/ingress-bandwidth": "1M"})
    await stage.network.attach(of, sandbox(), "")
    (_, first), (_, second) = stage.calls()
    assert "runtimeConfig" not in first
    mapping = {"hostPort": 8080, "containerPort": 80, "protocol": "udp", "hostIP": "127.0.0.1"}
    assert second["runtimeConfig"] == {"portMappings": [mapping]}
    assert capabilities(of)["bandwidth"]["ingressRate"] == 1_000_000
    of.metadata.annotations["kubernetes.io/ingress-bandwidth"] = "much"
    with pytest.raises(PluginFailed, match=r"failed to get pod bandwidth: kubernetes\.io/ingress-bandwidth: "):
        capabilities(of)


async def test_a_restarted_kubelet_knows_the_address_and_checks_the_connection(stage: Stage) -> None:
    stage.configure()
    await stage.network.attach(pod(), sandbox(), "")
    stage.calls()
    again = stage.restarted()
    assert again.known(sandbox()) == "10.9.0.7"
    assert again.known(sandbox("another")) == ""
    assert again.known(sandbox(**{ADDRESS: "10.244.0.7"})) == ""
    assert await again.attach(pod(), sandbox(), "10.9.0.7") == "10.9.0.7"
    checked = stage.calls()
    assert [call for call, _ in checked] == ["first CHECK", "second CHECK"]
    assert checked[0][1]["prevResult"] == RESULT
    (stage.bin / "second.fails").write_text('{"code": 100, "msg": "rule is gone", "details": "port 80"}')
    with pytest.raises(
        PluginFailed, match=r'^plugin type="second" name="net" failed \(check\): rule is gone; port 80$'
    ):
        await again.attach(pod(), sandbox(), "10.9.0.7")


@pytest.mark.parametrize("changed", [{"disableCheck": True}, {"cniVersion": "0.3.1"}])
async def test_what_cannot_be_checked_is_believed(stage: Stage, changed: dict[str, Any]) -> None:
    stage.configure(**changed)
    await stage.network.attach(pod(), sandbox(), "")
    stage.calls()
    assert await stage.network.attach(pod(), sandbox(), "10.9.0.7") == "10.9.0.7"
    assert stage.calls() == []


async def test_a_new_sandbox_is_connected_after_the_old_one_is_undone(stage: Stage) -> None:
    stage.configure()
    await stage.network.attach(pod(), sandbox(), "")
    await stage.network.attach(pod(), sandbox("c2"), "")
    verbs = stage.verbs()
    assert verbs[2:] == ["second DEL", "first DEL", "first ADD", "second ADD"]
    assert [told[0].split()[2] for told in stage.environments[2:]] == ["c1", "c1", "c2", "c2"]


async def test_what_failed_is_undone_and_told_in_upstreams_words(stage: Stage) -> None:
    stage.configure()
    (stage.bin / "second.fails").write_text('{"cniVersion": "1.0.0", "code": 11, "msg": "try again later"}')
    why = r'failed to setup network for sandbox "c1": plugin type="second" name="net" failed \(add\): try again later$'
    with pytest.raises(PluginFailed, match=why):
        await stage.network.attach(pod(), sandbox(), "")
    # The second one fails at DEL too, so the record stays for the next try.
    assert stage.verbs() == ["first ADD", "second ADD", "second DEL"]
    assert stage.network.known(sandbox()) == ""
    (stage.bin / "second.fails").unlink()
    await stage.network.detach("u1")
    assert stage.verbs() == ["second DEL", "first DEL"]


@pytest.mark.parametrize(
    ("said", "message"),
    [("", "netplugin failed with no error message: exit status 1"), ("oh no", 'netplugin failed: "oh no"')],
)
async def test_a_plugin_may_fail_without_a_document(stage: Stage, said: str, message: str) -> None:
    stage.configure()
    (stage.bin / "first.fails").write_text(said)
    with pytest.raises(PluginFailed, match=message):
        await stage.network.attach(pod(), sandbox(), "")


async def test_a_missing_plugin_is_named(stage: Stage) -> None:
    stage.configure(plugins=[{"type": "nowhere"}])
    with pytest.raises(PluginFailed, match=rf'failed to find plugin "nowhere" in path \[{stage.bin}\]'):
        await stage.network.attach(pod(), sandbox(), "")


NOT_INITIALIZED = (
    "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
    "message:Network plugin returns error: cni plugin not initialized"
)


async def test_the_network_is_ready_when_there_is_a_configuration(stage: Stage) -> None:
    assert await stage.network.problem() == NOT_INITIALIZED
    with pytest.raises(NotReady, match="cni plugin not initialized"):
        await stage.network.attach(pod(), sandbox(), "")
    (stage.configuration / "00-broken.conf").write_text("{")
    (stage.configuration / "05-none.conflist").write_text('{"name": "n", "plugins": []}')
    assert await stage.network.problem() == NOT_INITIALIZED
    stage.configure()
    assert await stage.network.problem() == ""


async def test_newer_plugins_tell_their_state_and_collect_what_nobody_uses(stage: Stage) -> None:
    stage.configure(cniVersion="1.1.0")
    assert await stage.network.problem() == ""
    assert stage.verbs() == ["first STATUS", "second STATUS"]
    for number in (1, 2):
        await stage.network.attach(pod(f"u{number}"), sandbox(f"c{number}", f"u{number}"), "")
    stage.calls()
    await stage.network.sweep(lambda: ["u2"])
    swept = stage.calls()
    assert [call for call, _ in swept] == ["second DEL", "first DEL", "first GC", "second GC"]
    assert swept[2][1]["cni.dev/valid-attachments"] == [{"containerID": "c2", "ifname": "eth0"}]
    (stage.bin / "first.fails").write_text('{"code": 50, "msg": "no more addresses"}')
    assert (await stage.network.problem()).endswith("failed (status): no more addresses")


async def test_the_configuration_that_an_attachment_was_made_with_undoes_it(stage: Stage) -> None:
    stage.configure()
    await stage.network.attach(pod(), sandbox(), "")
    stage.calls()
    (stage.configuration / "10-net.conflist").unlink()
    await abandon(stage.records)
    assert stage.verbs() == ["second DEL", "first DEL"]
    assert not list(stage.records.iterdir())


async def test_a_process_number_that_is_somebody_elses_by_now_is_not_entered(stage: Stage) -> None:
    stage.configure()
    await stage.network.attach(pod(), sandbox(), "")
    file = stage.records / "u1.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "inode": 1}))
    stage.calls()
    await stage.network.detach("u1")
    stage.calls()
    assert [told[1] for told in stage.environments] == ["", ""]


def test_the_first_usable_file_counts(tmp_path: Path) -> None:
    (tmp_path / "20.conflist").write_text(json.dumps(LIST))
    (tmp_path / "10.conf").write_text('{"cniVersion": "0.4.0", "name": "single", "type": "bridge"}')
    (tmp_path / "05.txt").write_text(json.dumps(LIST))
    found = configurations.find(tmp_path)
    assert found is not None
    assert (found.name, found.version, len(found.plugins)) == ("single", "0.4.0", 1)
    assert configurations.find(tmp_path / "nowhere") is None


def test_the_highest_version_that_both_know_counts() -> None:
    assert parse({**LIST, "cniVersion": "0.4.0", "cniVersions": ["1.0.0", "9.0.0"]}).version == "1.0.0"
    with pytest.raises(Unusable, match=r"unsupported CNI version '9\.0\.0'"):
        parse({**LIST, "cniVersion": "9.0.0"})


@pytest.mark.parametrize(
    ("result", "found"),
    [
        (RESULT, "10.9.0.7"),
        ({"ips": [{"version": "6", "address": "fd00::2/64"}, {"version": "4", "address": "10.1.0.3/16"}]}, "10.1.0.3"),
        ({"ips": [{"address": "10.1.0.1/16", "interface": 0}, *RESULT["ips"]], "interfaces": RESULT["interfaces"]}, "10.9.0.7"),  # type: ignore[misc]
        ({"cniVersion": "0.2.0", "ip4": {"ip": "10.2.0.5/24"}}, "10.2.0.5"),
    ],
)  # fmt: skip
def test_the_address_is_the_pods_first_of_ipv4(result: dict[str, Any], found: str) -> None:
    assert address(result) == found


def test_a_result_without_an_address_is_a_fault() -> None:
    with pytest.raises(PluginFailed, match="no IPv4 address"):
        address({"ips": [{"address": "fd00::2/64"}]})
