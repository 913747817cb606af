"""A container of a pod → the specification that the engine is given."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from api import meta, quantities
from api.qos import qos_class
from api.types import Container, Pod, ResourceRequirements
from kubelet.containers import security
from kubelet.containers.environments import expand
from kubelet.containers.fields import ConfigError
from kubelet.containers.security import Powers
from kubelet.runtime import interfaces as labels
from kubelet.runtime.interfaces import Amounts, Mount, Record, Spec
from kubelet.syncing.plans import Start

LEAST_SHARES, LEAST_QUOTA = 2, 1000
SHARES_PER_CORE = 1024
QUOTA_PERIOD = 100_000
HOSTNAME_LIMIT, KERNEL_LIMIT = 63, 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What of this node goes into containers."""

    cluster: str
    node: str
    pause_image: str
    powers: Powers
    memory: int  # bytes that the machine has
    node_container: str = ""  # holds the node's network namespace; "" is the machine's own
    unshares: bool = False  # the pause program can leave the machine's network by itself

    @property
    def network(self) -> str:
        return f"container:{self.node_container}" if self.node_container else "host"


def leaves_network(host: Host, pod: Pod) -> bool:
    """Does the pod's pause container start in the machine's network and leave it for a new one of its own?

    The engine needs 85 of a start's 155 ms to make a namespace that we plumb ourselves anyway.  The program holds
    SYS_ADMIN for that, so not where containers share its process namespace; and the engine refuses sysctls of the
    machine's network.
    """
    context = pod.spec.securityContext
    sysctls = any((s.name or "").startswith("net") for s in context.sysctls) if context is not None else False
    return host.unshares and not pod.spec.hostNetwork and not pod.spec.shareProcessNamespace and not sysctls


def pause(
    host: Host, pod: Pod, attempt: int, address: str, mounts: tuple[Mount, ...] = (), domain: str = "cluster.local"
) -> Spec:  # fmt: skip
    """The sandbox: it holds the namespaces that the pod's containers share.  Raises ConfigError."""
    spec = pod.spec
    outside, leaves = bool(spec.hostNetwork), leaves_network(host, pod)
    return Spec(
        name=_name("POD", pod, attempt),
        image=host.pause_image,
        labels=_labels(host, pod, "POD", attempt)
        | {labels.KIND: labels.PAUSE}
        | ({labels.ADDRESS: address} if address else {}),
        arguments=("--unshare-network",) if leaves else None,
        network=host.network if outside else "host" if leaves else "none",
        capabilities_drop=("ALL",) if not outside else (),
        capabilities_add=("SYS_ADMIN",) if leaves else (),
        hostname="" if outside and host.node_container else host.node if outside else kernel_hostname(pod, domain),
        ipc="host" if spec.hostIPC else "shareable",
        pid="host" if spec.hostPID else "",
        mounts=mounts,
        cpu_shares=LEAST_SHARES,
        oom_score=-998 if host.powers.negative_oom_scores else 0,
        security=("no-new-privileges",),
        sysctls={s.name or "": s.value or "" for s in spec.securityContext.sysctls} if spec.securityContext else {},
    )


def hostname(pod: Pod) -> str:
    """https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#pod-hostname-and-subdomain-field"""
    if pod.spec.hostnameOverride:
        return pod.spec.hostnameOverride
    return (pod.spec.hostname or pod.metadata.name)[:HOSTNAME_LIMIT].rstrip("-.")


def kernel_hostname(pod: Pod, domain: str) -> str:
    """What `hostname` prints in the pod: its whole name, if the pod asks for that and has a domain."""
    name = hostname(pod)
    if not pod.spec.setHostnameAsFQDN or not pod.spec.subdomain or pod.spec.hostnameOverride:
        return name
    whole = f"{name}.{pod.spec.subdomain}.{pod.metadata.namespace}.svc.{domain}"
    if len(whole) > KERNEL_LIMIT:
        why = f"({KERNEL_LIMIT} characters is the max, {len(whole)} characters requested)"
        raise ConfigError(
            f"failed to construct FQDN from pod hostname and cluster domain, FQDN {whole} is too long {why}"
        )
    return whole


def container(
    host: Host, pod: Pod, start: Start, sandbox: Record, env: Mapping[str, str], mounts: tuple[Mount, ...]
) -> Spec:  # fmt: skip
    c = start.container
    spec = pod.spec
    given = amounts(c.resources)
    expanded = [expand(text, env) for text in c.command], [expand(text, env) for text in c.args]
    return Spec(
        name=_name(c.name or "", pod, start.attempt),
        image=c.image,
        labels=_labels(host, pod, c.name or "", start.attempt)
        | {
            labels.KIND: "container",
            labels.SANDBOX: sandbox.id,
            labels.BACKOFF: f"{start.backoff:g}",
            labels.HASH: fingerprint(c),
            labels.AMOUNTS: str(given),
        },
        # A command without args must not get the image's Cmd; args alone keep the image's Entrypoint.
        entrypoint=tuple(expanded[0]) if c.command else None,
        arguments=tuple(expanded[1]) if c.args or c.command else None,
        env=tuple(f"{name}={value}" for name, value in env.items()),
        working_dir=c.workingDir,
        user=security.user(pod, c),
        groups=security.groups(pod),
        network=host.network if spec.hostNetwork else f"container:{sandbox.id}",
        ipc="host" if spec.hostIPC else f"container:{sandbox.id}",
        pid="host" if spec.hostPID else f"container:{sandbox.id}" if spec.shareProcessNamespace else "",
        mounts=mounts,
        tty=bool(c.tty),
        stdin=bool(c.stdin),
        stdin_once=bool(c.stdinOnce),
        stop_signal=c.lifecycle.stopSignal if c.lifecycle else "",
        cpu_shares=given.shares,
        cpu_quota=given.quota,
        memory=given.memory,
        oom_score=oom_score(pod, c, host),
        read_only_root=bool(c.securityContext and c.securityContext.readOnlyRootFilesystem),
        **security.confinement(pod, c, host.powers),
    )


def amounts(resources: ResourceRequirements) -> Amounts:
    """What a container with these requests and limits is to have."""
    cpu_limit, memory = resources.limits.get("cpu"), resources.limits.get("memory")
    cpu = resources.requests.get("cpu", cpu_limit)
    return Amounts(
        shares(quantities.milli(cpu)) if cpu is not None else LEAST_SHARES,
        quota(quantities.milli(cpu_limit)) if cpu_limit is not None else 0,
        quantities.value(memory) if memory is not None else 0,
    )


def shares(milli: int) -> int:
    return max(LEAST_SHARES, milli * SHARES_PER_CORE // 1000)


def quota(milli: int) -> int:
    """Microseconds in each period; 0 is no limit."""
    return max(LEAST_QUOTA, milli * QUOTA_PERIOD // 1000) if milli else 0


def oom_score(pod: Pod, c: Container, host: Host) -> int:
    """Who is killed first when the machine runs out of memory.
    https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/#node-out-of-memory-behavior
    """
    match qos_class(pod.spec):
        case "Guaranteed":
            return -997 if host.powers.negative_oom_scores else 0
        case "BestEffort":
            return 1000
    request = quantities.value(c.resources.requests.get("memory", c.resources.limits.get("memory", "0")))
    score = 1000 - 1000 * request // max(1, host.memory)
    return min(999, max(3, score))


def fingerprint(c: Container) -> str:
    """Of what a change of a running pod's container means a restart: its image alone may be changed, and resources,
    which are not ours to judge here."""
    return hashlib.sha256(meta.encode([c.name, c.image])).hexdigest()[:16]


def _name(name: str, pod: Pod, attempt: int) -> str:
    m = pod.metadata
    return f"k8s_{name}_{m.name}_{m.namespace}_{m.uid}_{attempt}"


def _labels(host: Host, pod: Pod, name: str, attempt: int) -> dict[str, str]:
    return {
        labels.CLUSTER: host.cluster,
        labels.NODE: host.node,
        labels.POD_NAMESPACE: pod.metadata.namespace,
        labels.POD_NAME: pod.metadata.name,
        labels.POD_UID: pod.metadata.uid,
        labels.CONTAINER: name,
        labels.ATTEMPT: str(attempt),
    }
