"""What pods mount."""

import base64
from pathlib import Path
from typing import Any

import pytest

from api.types import (
    ClusterTrustBundleProjection,
    ConfigMap,
    ConfigMapProjection,
    ConfigMapVolumeSource,
    DownwardAPIProjection,
    DownwardAPIVolumeFile,
    EmptyDirVolumeSource,
    HostAlias,
    HostPathVolumeSource,
    KeyToPath,
    NFSVolumeSource,
    ObjectFieldSelector,
    ObjectMeta,
    PodDNSConfig,
    PodDNSConfigOption,
    PodSecurityContext,
    ProjectedVolumeSource,
    ResourceRequirements,
    Secret,
    SecretVolumeSource,
    SecurityContext,
    ServiceAccountTokenProjection,
    Volume,
    VolumeMount,
    VolumeProjection,
)  # fmt: skip
from kubelet.containers.environments import Sources
from kubelet.containers.fields import Place
from kubelet.volumes import files, resolvers
from kubelet.volumes.contents import VolumeFault, contents, references
from kubelet.volumes.files import File
from kubelet.volumes.host_paths import HostPaths
from kubelet.volumes.layouts import Layout, host_path_fault, memory_size, sub_path
from kubelet.volumes.resolvers import Resolver
from tests.unit.kubelet.builders import container, pod

MAP = ConfigMap(metadata=ObjectMeta(name="m"), data={"a": "1"}, binaryData={"b": base64.b64encode(b"\0").decode()})
SECRET = Secret(metadata=ObjectMeta(name="s"), data={"p": base64.b64encode(b"pw").decode()})
SOURCES = Sources({"m": MAP}, {"s": SECRET})


def shown(volume: Volume) -> dict[str, File]:
    return contents(pod(), volume, SOURCES, Place())


def read(directory: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in directory.iterdir() if not p.name.startswith("..")}


def test_an_update_replaces_all_files_at_once(tmp_path: Path) -> None:
    assert files.write(tmp_path, {"a": File(b"1"), "b": File(b"1")})
    first = (tmp_path / "..data").readlink()
    assert not files.write(tmp_path, {"a": File(b"1"), "b": File(b"1")})
    assert files.write(tmp_path, {"a": File(b"2"), "c": File(b"2", 0o600)})
    assert read(tmp_path) == {"a": b"2", "c": b"2"}
    assert (tmp_path / "c").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "..data").readlink() != first
    assert [p.name for p in tmp_path.iterdir() if p.is_dir() and not p.is_symlink()] == [
        (tmp_path / "..data").readlink().name
    ]


def test_an_update_that_was_broken_off_is_brought_to_its_end(tmp_path: Path) -> None:
    files.write(tmp_path, {"a": File(b"1"), "b": File(b"1")})
    (tmp_path / "b").unlink()
    (tmp_path / "gone").symlink_to("..data/gone")
    assert not files.write(tmp_path, {"a": File(b"1"), "b": File(b"1")})
    assert read(tmp_path) == {"a": b"1", "b": b"1"}
    assert not (tmp_path / "gone").is_symlink()
    (tmp_path / "..half").mkdir()
    (tmp_path / "..half/a").write_bytes(b"2")
    files.write(tmp_path, {"a": File(b"3")})
    assert {p.name for p in tmp_path.iterdir()} == {"a", "..data", (tmp_path / "..data").readlink().name}


def test_a_file_may_stand_in_a_directory(tmp_path: Path) -> None:
    files.write(tmp_path, {"deep/er/a": File(b"1")})
    assert (tmp_path / "deep/er/a").read_bytes() == b"1"
    assert (tmp_path / "deep").is_symlink()


def test_a_config_map_shows_text_and_bytes() -> None:
    assert shown(Volume(name="v", configMap=ConfigMapVolumeSource(name="m"))) == {"a": File(b"1"), "b": File(b"\0")}


def test_items_choose_rename_and_set_modes() -> None:
    items = [KeyToPath(key="p", path="dir/password", mode=0o400)]
    found = shown(Volume(name="v", secret=SecretVolumeSource(secretName="s", items=items, defaultMode=0o600)))
    assert found == {"dir/password": File(b"pw", 0o400)}


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        (Volume(name="v", configMap=ConfigMapVolumeSource(name="x")), 'configmap "x" not found'),
        (Volume(name="v", secret=SecretVolumeSource(secretName="x")), 'secret "x" not found'),
        (
            Volume(name="v", configMap=ConfigMapVolumeSource(name="m", items=[KeyToPath(key="z", path="z")])),
            "references non-existent config key: z",
        ),
    ],
)
def test_what_is_missing_is_a_fault_in_upstreams_words(volume: Volume, message: str) -> None:
    with pytest.raises(VolumeFault) as fault:
        shown(volume)
    assert str(fault.value) == message


def test_what_is_optional_may_be_missing() -> None:
    assert shown(Volume(name="v", secret=SecretVolumeSource(secretName="x", optional=True))) == {}


def test_a_projected_volume_joins_its_sources() -> None:
    downward = DownwardAPIVolumeFile(path="name", fieldRef=ObjectFieldSelector(fieldPath="metadata.name"))
    sources = [
        VolumeProjection(configMap=ConfigMapProjection(name="m", items=[KeyToPath(key="a", path="a")])),
        VolumeProjection(downwardAPI=DownwardAPIProjection(items=[downward])),
    ]
    volume = Volume(name="v", projected=ProjectedVolumeSource(sources=sources, defaultMode=0o440))
    assert shown(volume) == {"a": File(b"1", 0o440), "name": File(b"web", 0o440)}
    assert references([volume]) == ({"m"}, set())


def token_volume() -> Volume:
    projection = ServiceAccountTokenProjection(path="token", expirationSeconds=3607)
    sources = [VolumeProjection(serviceAccountToken=projection)]
    return Volume(name="v", projected=ProjectedVolumeSource(sources=sources, defaultMode=0o644))


@pytest.mark.parametrize(
    ("context", "own", "file"),
    [
        (None, None, File(b"t", 0o644)),
        (PodSecurityContext(fsGroup=7), None, File(b"t", 0o600)),
        (PodSecurityContext(runAsUser=5), None, File(b"t", 0o600, 5)),
        (PodSecurityContext(runAsUser=5), SecurityContext(runAsUser=6), File(b"t", 0o600, 6)),
    ],
)
def test_a_token_is_readable_by_those_who_are_known_to_need_it(context, own, file: File) -> None:
    of = pod(container("c", securityContext=own), securityContext=context)
    sources = Sources(tokens={("", 3607): b"t"})
    assert contents(of, token_volume(), sources, Place()) == {"token": file}


def test_a_pod_waits_for_its_token() -> None:
    with pytest.raises(VolumeFault, match="failed to fetch token"):
        contents(pod(container()), token_volume(), Sources(), Place())


MISSING = ConfigMapVolumeSource(name="missing")


def layout(root: Path) -> Layout:
    return Layout(root, "u1")


def test_a_pods_directory_holds_its_volumes_and_goes_as_a_whole(tmp_path: Path) -> None:
    volumes = [
        Volume(name="work", emptyDir=EmptyDirVolumeSource()),
        Volume(name="config", configMap=ConfigMapVolumeSource(name="m")),
        Volume(name="fast", emptyDir=EmptyDirVolumeSource(medium="Memory")),
        Volume(name="host", hostPath=HostPathVolumeSource(path="/srv")),
    ]
    mounts = [
        VolumeMount(name="work", mountPath="/data", subPath="inner"),
        VolumeMount(name="config", mountPath="config"),
        VolumeMount(name="fast", mountPath="/fast"),
        VolumeMount(name="host", mountPath="/host", readOnly=True),
    ]
    c = container(volumeMounts=mounts)
    of = pod(c, volumes=volumes)
    laid = layout(tmp_path)
    laid.set_up(of, SOURCES, Place())
    empty = tmp_path / "pods/u1/volumes/kubernetes.io~empty-dir/work"
    assert empty.stat().st_mode & 0o777 == 0o777
    found = {m.target: m for m in laid.mounts(of, c, 0, {})}
    assert found["/data"].source == str(empty / "inner")
    assert found["/config"].read_only
    assert (found["/fast"].tmpfs, found["/fast"].source) == (True, "wherry_u1_fast")
    assert (found["/host"].source, found["/host"].read_only, found["/host"].create) == ("/srv", True, True)
    assert found["/dev/termination-log"].source == str(tmp_path / "pods/u1/containers/main/0.log")
    assert {"/etc/hosts", "/etc/resolv.conf"} <= set(found)
    laid.remove()
    assert list((tmp_path / "pods").iterdir()) == []


def test_what_a_driver_mounts_of_the_kubelets_is_the_nodes_own(tmp_path: Path) -> None:
    c = container(volumeMounts=[VolumeMount(name="host", mountPath="/r"), VolumeMount(name="new", mountPath="/n")])
    kinds = {"host": ("/var/lib/kubelet/plugins", "Directory"), "new": ("/var/lib/kubelet/new", "DirectoryOrCreate")}
    volumes = [Volume(name=n, hostPath=HostPathVolumeSource(path=p, type=k)) for n, (p, k) in kinds.items()]
    of = pod(c, volumes=volumes)
    root = tmp_path / "node1"
    (root / "plugins").mkdir(parents=True)
    laid = Layout(root, "u1", Path("/"), paths=HostPaths.parse(f"/var/lib/kubelet={root}"))
    laid.set_up(of, SOURCES, Place())
    found = {m.target: m.source for m in laid.mounts(of, c, 0, {})}
    assert (found["/r"], found["/n"]) == (str(root / "plugins"), str(root / "new"))
    assert (root / "new").is_dir()


def test_a_mount_of_the_pod_takes_the_place_of_our_own(tmp_path: Path) -> None:
    c = container(volumeMounts=[VolumeMount(name="host", mountPath="/etc/hosts")])
    of = pod(c, volumes=[Volume(name="host", hostPath=HostPathVolumeSource(path="/etc/hosts", type="File"))])
    found = [m for m in layout(tmp_path).mounts(of, c, 0, {}) if m.target == "/etc/hosts"]
    assert [m.source for m in found] == ["/etc/hosts"]


def test_a_volume_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    volume = Volume(name="v", nfs=NFSVolumeSource(path="/", server="x"))
    c = container(volumeMounts=[VolumeMount(name="v", mountPath="/v")])
    with pytest.raises(VolumeFault, match=r'MountVolume.SetUp failed for volume "v" : no volume plugin matched'):
        layout(tmp_path).set_up(pod(c, volumes=[volume]), SOURCES, Place())


def test_what_is_wrong_with_a_volume_that_no_container_uses_is_nobodys_trouble(tmp_path: Path) -> None:
    volumes = [Volume(name="v", nfs=NFSVolumeSource(path="/", server="x")), Volume(name="config", configMap=MISSING)]
    layout(tmp_path).set_up(pod(volumes=volumes), SOURCES, Place())


@pytest.mark.parametrize(
    ("inner", "why"),
    [
        ("/etc", "error SubPath `/etc` must not be an absolute path"),
        ("a/../..", "unable to provision SubPath `a/../..`: must not contain '..'"),
    ],
)
def test_a_sub_path_may_not_climb(inner: str, why: str) -> None:
    with pytest.raises(VolumeFault) as refused:
        sub_path(VolumeMount(name="v", subPathExpr="$(P)"), {"P": inner})
    assert str(refused.value) == why


@pytest.mark.parametrize(
    ("kind", "path", "fault"),
    [("Directory", "dir", False), ("Directory", "file", True), ("File", "file", False), ("File", "none", True),
     ("Socket", "file", True), ("DirectoryOrCreate", "new", False), ("FileOrCreate", "new", False), ("", "none", False)],
)  # fmt: skip
def test_a_host_path_must_be_what_its_type_says(tmp_path: Path, kind: str, path: str, fault: bool) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "file").touch()
    found = host_path_fault(HostPathVolumeSource(path=f"/{path}", type=kind), tmp_path)
    assert bool(found) == fault
    if fault:
        assert found.startswith((f"hostPath type check failed: /{path} is not a ", f"hostPath /{path} doesn't exist"))


NODE = Resolver(("192.0.2.53",), ("example.com",), ("timeout:1",))


def resolved(**spec: Any) -> str:
    return resolvers.resolver(pod(**spec), NODE, ("10.96.0.10",), "cluster.local").text()


def test_cluster_names_come_first() -> None:
    assert resolved() == (
        "search default.svc.cluster.local svc.cluster.local cluster.local example.com\n"
        "nameserver 10.96.0.10\noptions ndots:5\n"
    )


def test_each_dns_policy_is_kept() -> None:
    node = "search example.com\nnameserver 192.0.2.53\noptions timeout:1\n"
    assert resolved(dnsPolicy="Default") == node
    assert resolved(hostNetwork=True, dnsPolicy="ClusterFirst") == node
    assert "10.96.0.10" in resolved(hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet")
    own = PodDNSConfig(nameservers=["192.0.2.1"], searches=["a"], options=[PodDNSConfigOption(name="ndots", value="2")])
    assert resolved(dnsPolicy="None", dnsConfig=own) == "search a\nnameserver 192.0.2.1\noptions ndots:2\n"
    assert resolved(dnsConfig=own).endswith("nameserver 10.96.0.10\nnameserver 192.0.2.1\noptions ndots:2\n")


def test_a_resolver_file_is_read_back() -> None:
    assert resolvers.parse("# x\nnameserver 192.0.2.53\nsearch example.com\noptions timeout:1\n") == NODE


def test_the_hosts_file_names_the_pod() -> None:
    aliased = pod(hostAliases=[HostAlias(ip="10.0.0.9", hostnames=["a", "b"])], subdomain="sub")
    text = resolvers.hosts(aliased, "10.244.1.2", "web", "cluster.local", "")
    assert text.startswith("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n")
    assert "10.244.1.2\tweb.sub.default.svc.cluster.local\tweb\n" in text
    assert text.endswith("# Entries added by HostAliases.\n10.0.0.9\ta\tb\n")
    outside = resolvers.hosts(pod(hostNetwork=True), "", "web", "cluster.local", "127.0.0.1 x\n")
    assert outside == "# Kubernetes-managed hosts file (host network).\n127.0.0.1 x\n"


def test_memory_volumes_are_as_large_as_their_limit(tmp_path: Path) -> None:
    volume = Volume(name="v", emptyDir=EmptyDirVolumeSource(medium="Memory", sizeLimit="1Mi"))
    of = pod(container(volumeMounts=[VolumeMount(name="v", mountPath="/v")]), volumes=[volume])
    layout = Layout(tmp_path, "u1")
    mount, *_ = layout.mounts(of, of.spec.containers[0], 0, {})
    assert (mount.tmpfs, mount.size) == (True, 2**20)
    assert layout.memory_mounts(of)[0].size == 2**20
    smaller = [container(resources=ResourceRequirements(limits={"memory": "64Ki"}))]
    assert memory_size(pod(*smaller), volume, 2**30) == 2**16
    assert memory_size(pod(), Volume(emptyDir=EmptyDirVolumeSource(medium="Memory")), 2**30) == 2**30


def mounted(tmp_path: Path, **fields: Any) -> Any:
    of = pod(
        container(volumeMounts=[VolumeMount(name="v", mountPath="/v", **fields)]),
        volumes=[Volume(name="v", hostPath=HostPathVolumeSource(path=str(tmp_path)))],
    )
    return Layout(tmp_path, "u1").mounts(of, of.spec.containers[0], 0, {"A": "a"})[0]


@pytest.mark.parametrize(
    ("wish", "propagation"), [("None", ""), ("HostToContainer", "rslave"), ("Bidirectional", "rshared")]
)
def test_mounts_are_propagated_as_wished(tmp_path: Path, wish: str, propagation: str) -> None:
    assert mounted(tmp_path, mountPropagation=wish).propagation == propagation


def test_a_sub_path_needs_all_of_its_variables(tmp_path: Path) -> None:
    assert mounted(tmp_path, subPathExpr="$(A)/$$(B)").source == f"{tmp_path}/a/$(B)"
    with pytest.raises(VolumeFault, match='missing value for "B"'):
        mounted(tmp_path, subPathExpr="$(A)/$(B)")


def test_recursive_read_only_is_refused_where_it_must_be(tmp_path: Path) -> None:
    with pytest.raises(VolumeFault, match='volume "v" requested recursive read-only mode, but it is not supported'):
        mounted(tmp_path, readOnly=True, recursiveReadOnly="Enabled")
    assert mounted(tmp_path, readOnly=True, recursiveReadOnly="IfPossible").read_only


def test_a_projection_that_there_is_not_is_refused_by_name() -> None:
    source = VolumeProjection(clusterTrustBundle=ClusterTrustBundleProjection(path="ca.pem"))
    with pytest.raises(VolumeFault, match="clusterTrustBundle projection is not supported"):
        shown(Volume(name="v", projected=ProjectedVolumeSource(sources=[source])))
