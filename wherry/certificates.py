"""The lab's certificates: one directory for each component, as compose.yaml mounts them.

Each holds `ca.crt`, `tls.crt`, `tls.key` and `kubeconfig`. The authority's own key stays in `ca/`, which no component
mounts; the controller manager, which signs certificates that are asked for, has a copy. etcd, which lets in whoever has
a certificate of the authority that it knows, knows another one (`etcd-ca/`). The API servers' directory also has
`sa.key` and `sa.pub`, with which service account tokens are signed, `encryption.yaml`, which says how Secrets lie in
etcd, `etcd-*`, by which etcd knows them, and `front-proxy-*`, which make aggregated API servers believe it. Run as a
program this is the one-shot
service `certificates` of compose.yaml; it needs nothing of the lab's command line, because the component image does
not have it.
"""

import argparse
import base64
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

from machinery import kubeconfigs
from machinery.certificates import Authority, Pair, Subject, signing_pair
from machinery.kubeconfigs import Access

# The API servers' port for gRPC, as components reach it inside the lab's network.
INSIDE = "https://apiserver:6444"
NETWORK = "10.123.0"
SERVICE_ADDRESS = "10.96.0.1"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
KUBERNETES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")

ETCD = "etcd"
ETCD_CLIENT = "etcd-client"
FRONT_PROXY = "front-proxy-client"
ENCRYPTION = """\
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - aesgcm: {{keys: [{{name: key1, secret: {secret}}}]}}
  - identity: {{}}
"""


def subjects(nodes: Sequence[str], network: str = NETWORK) -> Iterator[tuple[str, Subject]]:
    """Directory name and subject of every component. `network` is the first three numbers of the lab's /24.

    Addresses are the ones that compose.yaml gives: etcd .10–.19, API servers .20–.29, controller managers .30,
    schedulers .40, cluster DNS .50, and the node of number N at .100 + N. Several of one kind share a directory.
    """
    api_servers = tuple(f"{network}.{20 + n}" for n in range(10))
    names = ("apiserver", *(f"apiserver{n}" for n in range(1, 10)))
    hosts = (*LOOPBACK, *names, *KUBERNETES, SERVICE_ADDRESS, *api_servers)
    yield "apiserver", Subject("system:apiserver", ("system:masters",), hosts)
    members = tuple(f"{network}.{10 + n}" for n in range(10))
    yield ETCD, Subject(ETCD, (), (*LOOPBACK, "etcd", *(f"etcd{n}" for n in range(1, 10)), *members))
    yield (
        "controller-manager",
        Subject("system:kube-controller-manager", (), (*LOOPBACK, "controller-manager", "controller-manager1")),
    )
    yield "scheduler", Subject("system:kube-scheduler", (), (*LOOPBACK, "scheduler", "scheduler1"))
    yield "cluster-dns", Subject("system:kube-dns", (), (*LOOPBACK, "cluster-dns", "cluster-dns1"))
    yield "admin", Subject("kubernetes-admin", ("system:masters",))
    for node in nodes:
        here = (*LOOPBACK, node, address_of(node, network))
        yield f"{node}-kubelet", Subject(f"system:node:{node}", ("system:nodes",), here)
        yield f"{node}-kube-proxy", Subject("system:kube-proxy", ("system:node-proxier",), here)


def address_of(node: str, network: str = NETWORK) -> str:
    return f"{network}.{100 + int(node.removeprefix('node'))}"


def write(directory: Path, nodes: Sequence[str], network: str = NETWORK) -> list[str]:
    """Makes what is missing or no longer good enough, keeps the rest; returns the names of the directories it wrote.

    Files are replaced, directories never: compose mounts them before this has run.
    """
    cluster = _authority(directory / "ca")
    written = [*_account_keys(directory / "apiserver"), *_encryption(directory / "apiserver")]
    written += _signing_key(directory / "controller-manager", cluster)
    # An authority of its own: whoever has a certificate of the cluster's would be believed anything else.
    proxies = _authority(directory / "front-proxy-ca", "wherry-front-proxy")
    written += _client(directory / "apiserver", proxies, "front-proxy-ca", FRONT_PROXY)
    # And another: etcd asks nobody for a name, so with the cluster's a node's certificate would open every secret.
    storage = _authority(directory / "etcd-ca", "wherry-etcd")
    written += _client(directory / "apiserver", storage, "etcd-ca", ETCD_CLIENT)
    for name, subject in subjects(nodes, network):
        place = directory / name
        authority = storage if name == ETCD else cluster
        certificate, key = place / "tls.crt", place / "tls.key"
        whole = key.exists() and (place / "kubeconfig").exists() and (place / "ca.crt").exists()
        if whole and certificate.exists() and authority.still_serves(certificate.read_bytes(), subject):
            continue
        pair = authority.issue(subject)
        replace(place / "ca.crt", authority.pair.certificate, 0o644)
        replace(key, pair.key, 0o600)
        replace(place / "kubeconfig", _config(INSIDE, authority.pair, pair, subject.user), 0o600)
        # Last: a run that is broken off before this line does its work again.
        replace(certificate, pair.certificate, 0o644)
        written.append(name)
    return written


def access(directory: Path, server: str, cluster: str) -> bytes:
    """The administrator's kubeconfig for a server address outside of the lab's network."""
    held = kubeconfigs.load(directory / "admin" / "kubeconfig")
    return kubeconfigs.dump(Access(server, held.ca, held.certificate, held.key), cluster, "kubernetes-admin").encode()


def replace(path: Path, content: bytes, mode: int) -> None:
    """Writes a file whole or not at all, never readable by more than `mode` says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    partial.touch(mode=mode)
    partial.write_bytes(content)
    partial.chmod(mode)
    partial.replace(path)


def _config(server: str, authority: Pair, pair: Pair, user: str) -> bytes:
    return kubeconfigs.dump(Access(server, authority.certificate, pair.certificate, pair.key), "wherry", user).encode()


def _account_keys(place: Path) -> list[str]:
    """The pair that service account tokens are signed with, which all API servers share; never replaced, because every
    token that is in use would end with it."""
    private, public = place / "sa.key", place / "sa.pub"
    if private.exists() and public.exists():
        return []
    pair = signing_pair()
    replace(public, pair.public, 0o644)
    replace(private, pair.private, 0o600)
    return ["service account keys"]


def _encryption(place: Path) -> list[str]:
    """What Secrets are encrypted with, the same for all API servers; never replaced, because whatever was written with
    the key is unreadable without it. What was written before there was one stays readable."""
    path = place / "encryption.yaml"
    if path.exists():
        return []
    replace(path, ENCRYPTION.format(secret=base64.b64encode(secrets.token_bytes(32)).decode()).encode(), 0o600)
    return ["encryption key"]


def _client(place: Path, authority: Authority, trusted: str, name: str) -> list[str]:
    """By which those who trust another authority than the cluster's know the API servers, and how these know them."""
    certificate, key = place / f"{name}.crt", place / f"{name}.key"
    if key.exists() and certificate.exists() and authority.still_serves(certificate.read_bytes(), Subject(name)):
        return []
    pair = authority.issue(Subject(name))
    replace(place / f"{trusted}.crt", authority.pair.certificate, 0o644)
    replace(key, pair.key, 0o600)
    replace(certificate, pair.certificate, 0o644)
    return [name]


def _signing_key(place: Path, authority: Authority) -> list[str]:
    path = place / "ca.key"
    if path.exists() and path.read_bytes() == authority.pair.key:
        return []
    replace(path, authority.pair.key, 0o600)
    return ["signing key"]


def _authority(place: Path, name: str = "wherry") -> Authority:
    certificate, key = place / "ca.crt", place / "ca.key"
    if certificate.exists() and key.exists():
        return Authority(Pair(certificate.read_bytes(), key.read_bytes()))
    authority = Authority.create(name)
    replace(key, authority.pair.key, 0o600)
    replace(certificate, authority.pair.certificate, 0o644)
    return authority


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="wherry certificates", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, dest="directory", help="where the directories go")
    parser.add_argument("--nodes", nargs="*", default=["node1", "node2", "node3"], help="names of the lab's nodes")
    parser.add_argument("--network", default=NETWORK, help="first three numbers of the lab's /24")
    asked = parser.parse_args(arguments)
    written = write(asked.directory, asked.nodes, asked.network)
    print(f"certificates: wrote {', '.join(written)}" if written else "certificates: all there")


if __name__ == "__main__":
    main()
