"""A container of a pod → the specification that the engine is given."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from api import meta, quantities
from api.qos import qos_class
from api.types import Container, Pod
from kubelet.cgroups import limits
from kubelet.cgroups.limits import LEAST_SHARES
from kubelet.containers import security
from kubelet.containers.accounts import Accounts
from kubelet.containers.environments import expand
from kubelet.containers.fields import ConfigError
from kubelet.containers.security import Powers
from kubelet.containers.sysctls import normal
from kubelet.runtime import interfaces as labels
from kubelet.runtime.interfaces import Amounts, Mount, Record, Spec
from kubelet.syncing.importance import is_node_critical
from kubelet.syncing.plans import Start
from kubelet.syncing.restarts import is_sidecar

HOSTNAME_LIMIT, KERNEL_LIMIT = 63, 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What of this node goes into containers."""

    cluster: str
    node: str
    pause_image: str
    powers: Powers
    memory: int  # bytes that the node has
    quota: int | None = None  # what the node has of its processors' time, if it is not all of it
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
    host: Host, pod: Pod, attempt: int, address: str, mounts: tuple[Mount, ...] = (), domain: str = "cluster.local",
    *, parent: str = "", runtime: str = "",
) -> Spec:  # fmt: skip
    """The sandbox: it holds the namespaces that the pod's containers share.  Raises ConfigError."""
    spec, context = pod.spec, pod.spec.securityContext
    if spec.hostUsers is False:
        raise ConfigError("can't set `spec.hostUsers: false`, runtime does not support user namespaces")
    outside, leaves = bool(spec.hostNetwork), leaves_network(host, pod)
    return Spec(
        name=_name("POD", pod, attempt),
        image=host.pause_image,
        annotations=pod.metadata.annotations,
        labels=_labels(host, pod, "POD", attempt)
        | {labels.KIND: labels.PAUSE}
        | ({labels.ADDRESS: address} if address else {})
        | ({labels.RUNTIME: runtime} if runtime else {}),
        runtime=runtime,
        arguments=("--unshare-network",) if leaves else None,
        network=host.network if outside else "host" if leaves else "none",
        capabilities_drop=("ALL",) if not outside else (),
        capabilities_add=("SYS_ADMIN",) if leaves else (),
        hostname="" if outside and host.node_container else host.node if outside else kernel_hostname(pod, domain),
        ipc="host" if spec.hostIPC else "shareable",
        pid="host" if spec.hostPID else "",
        mounts=mounts,
        cpu_shares=LEAST_SHARES,
        cgroup_parent=parent,
        oom_score=-998 if host.powers.negative_oom_scores else 0,
        security=("no-new-privileges",),
        sysctls={normal(s.name or ""): s.value or "" for s in context.sysctls} if context else {},
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
    host: Host, pod: Pod, start: Start, sandbox: Record, env: Mapping[str, str], mounts: tuple[Mount, ...],
    *, parent: str = "", target: str = "", image_user: str = "", accounts: Accounts | None = None,
) -> Spec:  # fmt: skip
    """`target` is the id of the container whose processes it is to see; `accounts` are the image's, where they are
    needed.  Raises ConfigError."""
    c = start.container
    spec = pod.spec
    given = amounts(pod, c, host.quota)
    user, groups = security.identity(pod, c, image_user, accounts or Accounts())
    expanded = [expand(text, env) for text in c.command], [expand(text, env) for text in c.args]
    return Spec(
        name=_name(c.name or "", pod, start.attempt),
        image=c.image,
        annotations=pod.metadata.annotations,
        labels=_labels(host, pod, c.name or "", start.attempt)
        | {
            labels.KIND: "container",
            labels.SANDBOX: sandbox.id,
            labels.BACKOFF: f"{start.backoff:g}",
            labels.HASH: fingerprint(c),
            labels.AMOUNTS: str(given),
            **({labels.ROUND: str(start.round)} if start.round else {}),
        },
        runtime=sandbox.labels.get(labels.RUNTIME, ""),
        # A command without args must not get the image's Cmd; args alone keep the image's Entrypoint.
        entrypoint=tuple(expanded[0]) if c.command else None,
        arguments=tuple(expanded[1]) if c.args or c.command else None,
        env=tuple(f"{name}={value}" for name, value in env.items()),
        working_dir=c.workingDir,
        user=user,
        groups=groups,
        network=host.network if spec.hostNetwork else f"container:{sandbox.id}",
        ipc="host" if spec.hostIPC else f"container:{sandbox.id}",
        pid=_processes(pod, sandbox, target),
        mounts=mounts,
        tty=bool(c.tty),
        stdin=bool(c.stdin),
        stdin_once=bool(c.stdinOnce),
        stop_signal=c.lifecycle.stopSignal if c.lifecycle else "",
        cpu_shares=given.shares,
        cpu_quota=given.quota,
        memory=given.memory,
        cgroup_parent=parent,
        oom_score=oom_score(pod, c, host),
        read_only_root=bool(c.securityContext and c.securityContext.readOnlyRootFilesystem),
        **security.confinement(pod, c, host.powers),
    )


def _processes(pod: Pod, sandbox: Record, target: str) -> str:
    if target:
        return f"container:{target}"
    return "host" if pod.spec.hostPID else f"container:{sandbox.id}" if pod.spec.shareProcessNamespace else ""


def amounts(pod: Pod, c: Container, most: int | None = None) -> Amounts:
    """What a container is to have; without a limit of its own, the whole pod's.  `most` is the node's own quota."""
    whole = pod.spec.resources.limits if pod.spec.resources is not None else {}
    bounds = {name: whole[name] for name in ("cpu", "memory") if name in whole} | c.resources.limits
    cpu_limit, memory = bounds.get("cpu"), bounds.get("memory")
    cpu = c.resources.requests.get("cpu", cpu_limit)
    wanted = limits.quota(quantities.milli(cpu_limit)) if cpu_limit is not None else 0
    return Amounts(
        limits.shares(quantities.milli(cpu)) if cpu is not None else LEAST_SHARES,
        limits.at_most(wanted, most) or 0,
        quantities.value(memory) if memory is not None else 0,
    )


def oom_score(pod: Pod, c: Container, host: Host) -> int:
    """Who is killed first when the machine runs out of memory.
    https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/#node-out-of-memory-behavior
    """
    chosen = qos_class(pod.spec)
    if chosen == "Guaranteed" or is_node_critical(pod):
        return -997 if host.powers.negative_oom_scores else 0
    if chosen == "BestEffort":
        return 1000
    score = _score(_memory(c) + _shared(pod), host)
    if is_sidecar(c):  # it is needed for as long as the containers beside it are
        score = min(score, _score(min(_memory(r) for r in pod.spec.containers), host))
    return min(999, max(3, score))


def _score(memory: int, host: Host) -> int:
    return 1000 - 1000 * memory // max(1, host.memory)


def _memory(c: Container) -> int:
    return quantities.value(c.resources.requests.get("memory", c.resources.limits.get("memory", "0")))


def _shared(pod: Pod) -> int:
    """Of what the pod requests as a whole beyond its containers, each one's part."""
    if pod.spec.resources is None or "memory" not in pod.spec.resources.requests:
        return 0
    lasting = [*pod.spec.containers, *(c for c in pod.spec.initContainers if is_sidecar(c))]
    rest = quantities.value(pod.spec.resources.requests["memory"]) - sum(_memory(c) for c in lasting)
    return max(0, rest) // len(lasting)


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
