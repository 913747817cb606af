"""The kubelet's flags, under upstream's names where upstream has them."""

import argparse
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from api.nodes import KUBELET_GRPC_PORT, KUBELET_PORT
from kubelet.certificates import flags as certificates
from kubelet.certificates.flags import CertificateConfig
from kubelet.devices import flags as devices
from kubelet.devices.flags import DeviceConfig
from kubelet.images import flags as images
from kubelet.images.flags import ImageConfig
from kubelet.network.ways import PORT, VNI, Vxlan
from kubelet.nodes import capacities
from kubelet.nodes.capacities import Resources
from kubelet.runtime import simulations
from kubelet.runtime.simulations import Simulation
from kubelet.volumes.host_paths import HostPaths
from machinery.flags import truth

POD_NETWORKS = ("routes", "vxlan")
SANDBOX_NETWORKS = ("unshare", "none")
RUNTIMES = ("docker", "simulated")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    kubeconfig: Path
    node: str
    address: str
    bind: str
    port: int
    grpc_port: int
    anonymous: bool
    root: Path
    endpoint: str
    pause_image: str
    cluster: str
    cluster_dns: tuple[str, ...]
    cluster_domain: str
    unreachable: tuple[str, ...]
    certificate: Path
    key: Path
    client_ca: Path
    certificates: CertificateConfig
    runtime: str
    labels: dict[str, str]
    max_pods: int
    node_container: str
    resolver: Path
    parallel_starts: int
    allowed_sysctls: tuple[str, ...]
    sandbox_network: str
    images: ImageConfig
    devices: DeviceConfig
    simulation: Simulation
    pod_network: str
    vxlan: Vxlan
    cni_configuration: Path | None
    cni_path: tuple[str, ...]
    resources: Resources
    pod_cidr: str
    manifests: Path | None
    manifest_url: str
    shutdown_grace: float
    shutdown_grace_critical: float
    file_check: float
    url_check: float

    @property
    def attachments(self) -> Path:
        """Where it is written what CNI plug-ins have done."""
        return self.root / "cni"

    @property
    def host_paths(self) -> HostPaths:
        """Which paths of the machine's are elsewhere for this node's pods."""
        return self.devices.paths(self.root, shared=bool(self.node_container))


def parse(arguments: Sequence[str] | None = None) -> Config:
    """Exits with a message if they make no sense."""
    parser = argparse.ArgumentParser("kubelet", description="The node agent: runs the pods assigned to this node.")
    add = parser.add_argument
    add("--kubeconfig", type=Path, required=True, help="how to reach the API server's gRPC door")
    add("--hostname-override", default=socket.gethostname(), help="the node's name")
    add("--node-ip", default="", help="the node's InternalIP; by default what its host name resolves to")
    add("--address", default="0.0.0.0", help="where to serve")  # noqa: S104
    add("--port", type=int, default=KUBELET_PORT, help="HTTPS, for whoever the API server says may see it")
    add("--grpc-port", type=int, default=KUBELET_GRPC_PORT, help="for the API server, which finds it on the Node")
    add("--anonymous-auth", nargs="?", type=truth, const=True, default=False, metavar="true|false")
    add("--root-dir", type=Path, default=None, help="must be the same path for the engine")
    add("--container-runtime-endpoint", default="unix:///var/run/docker.sock")
    add("--pod-infra-container-image", default="wherry/pause:1")
    add("--cluster-name", default="wherry", help="marks this cluster's containers on an engine that others use too")
    add("--cluster-dns", default="10.96.0.10", help="comma-separated; empty for none")
    add("--cluster-domain", default="cluster.local")
    add("--cluster-cidr", default="10.244.0.0/16", help="never routed out of the node where nothing better is known")
    add("--service-cluster-ip-range", default="10.96.0.0/16", help="the same")
    add("--tls-cert-file", type=Path, default=Path("/etc/wherry/pki/tls.crt"))
    add("--tls-private-key-file", type=Path, default=Path("/etc/wherry/pki/tls.key"))
    add("--client-ca-file", type=Path, default=Path("/etc/wherry/pki/ca.crt"))
    certificates.add_flags(parser)
    add("--runtime", choices=RUNTIMES, default="docker")
    add("--node-labels", default="", help="key=value,...")
    add("--max-pods", type=int, default=110)
    add(
        "--node-container",
        default="",
        help="the container that holds the node's network namespace; hostNetwork joins it",
    )
    add("--resolv-conf", type=Path, default=Path("/etc/resolv.conf"))
    add("--allowed-unsafe-sysctls", default="", help="comma-separated names, or beginnings with a * at the end")
    add("--parallel-starts", type=int, default=4, help="pods that are being started at the same time")
    add(
        "--sandbox-network", choices=SANDBOX_NETWORKS, default="unshare",
        help="unshare: the pause program makes its own network namespace, in half the time; none: the engine makes it",
    )  # fmt: skip
    add(
        "--pod-network", choices=POD_NETWORKS, default="routes",
        help="to other nodes' pods: routes, if all nodes are on one network; vxlan, if they only reach each other",
    )  # fmt: skip
    add("--vxlan-vni", type=int, default=VNI, help="the virtual network's number, the same on all nodes")
    add("--vxlan-port", type=int, default=PORT, help="UDP; the same on all nodes")
    add(
        "--cni-conf-dir", type=Path, default=None,
        help="let the CNI plug-ins of the first configuration in there connect pods, instead of --pod-network",
    )  # fmt: skip
    add("--cni-bin-dir", default="/opt/cni/bin", help="comma-separated directories of CNI plug-ins")
    capacities.add_flags(parser)
    images.add_flags(parser)
    devices.add_flags(parser)
    add("--pod-cidr", default="", help="the pods' addresses; by default those that the cluster gives this node")
    add("--pod-manifest-path", type=Path, default=None, help="a directory, or a file, of static pods")
    add("--shutdown-grace-period", type=float, default=0, help="seconds that SIGPWR leaves the pods; 0: none")
    add("--shutdown-grace-period-critical-pods", type=float, default=0, help="how many of these are critical pods'")
    add("--manifest-url", default="", help="more static pods")
    add("--file-check-frequency", type=float, default=20, help="seconds, where the file system does not tell")
    add("--http-check-frequency", type=float, default=20, help="seconds between two looks at --manifest-url")
    simulations.add_flags(parser)
    flags = parser.parse_args(arguments)
    node = flags.hostname_override.lower()
    root = flags.root_dir or Path("/var/lib/wherry/kubelet") / node
    try:
        address = str(ipaddress.IPv4Address(flags.node_ip or socket.gethostbyname(node)))
        resources = capacities.resources(flags)
        labels = dict(_pair(text) for text in flags.node_labels.split(",") if text)
        of_images, of_certificates = images.read(flags, root), certificates.read(flags, root)
        of_devices, simulation = devices.read(flags), simulations.read(flags)
    except (OSError, ValueError) as e:
        parser.error(f"{e}")
    return Config(
        kubeconfig=flags.kubeconfig,
        node=node,
        address=address,
        bind=flags.address,
        port=flags.port,
        grpc_port=flags.grpc_port,
        anonymous=flags.anonymous_auth,
        root=root,
        endpoint=flags.container_runtime_endpoint,
        pause_image=flags.pod_infra_container_image,
        cluster=flags.cluster_name,
        cluster_dns=tuple(a for a in flags.cluster_dns.split(",") if a),
        cluster_domain=flags.cluster_domain,
        unreachable=tuple(r for r in (flags.cluster_cidr, flags.service_cluster_ip_range) if r),
        certificate=flags.tls_cert_file,
        key=flags.tls_private_key_file,
        client_ca=flags.client_ca_file,
        certificates=of_certificates,
        runtime=flags.runtime,
        labels=labels,
        max_pods=flags.max_pods,
        node_container=flags.node_container,
        resolver=flags.resolv_conf,
        parallel_starts=flags.parallel_starts,
        allowed_sysctls=tuple(s for s in flags.allowed_unsafe_sysctls.split(",") if s),
        sandbox_network=flags.sandbox_network,
        images=of_images,
        devices=of_devices,
        simulation=simulation,
        pod_network=flags.pod_network,
        vxlan=Vxlan(flags.vxlan_vni, flags.vxlan_port),
        cni_configuration=flags.cni_conf_dir,
        cni_path=tuple(d for d in flags.cni_bin_dir.split(",") if d),
        resources=resources,
        pod_cidr=flags.pod_cidr,
        manifests=flags.pod_manifest_path,
        manifest_url=flags.manifest_url,
        shutdown_grace=flags.shutdown_grace_period,
        shutdown_grace_critical=flags.shutdown_grace_period_critical_pods,
        file_check=flags.file_check_frequency,
        url_check=flags.http_check_frequency,
    )


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator:
        raise ValueError(f"--node-labels: {text!r} is not key=value")
    return key, value
