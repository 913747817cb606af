"""The hosts and resolv.conf files of a pod.
https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#pod-s-dns-policy
"""

from dataclasses import dataclass

from api.types import Pod

HEADER = (
    "127.0.0.1\tlocalhost",
    "::1\tlocalhost ip6-localhost ip6-loopback",
    "fe00::0\tip6-localnet",
    "fe00::0\tip6-mcastprefix",
    "fe00::1\tip6-allnodes",
    "fe00::2\tip6-allrouters",
)
MOST_SEARCHES = 32
MOST_NAMESERVERS = 3


@dataclass(frozen=True, slots=True)
class Resolver:
    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def text(self) -> str:
        lines = []
        if self.searches:
            lines.append(f"search {' '.join(self.searches[:MOST_SEARCHES])}")
        lines += [f"nameserver {n}" for n in self.nameservers[:MOST_NAMESERVERS]]
        if self.options:
            lines.append(f"options {' '.join(self.options)}")
        return "".join(f"{line}\n" for line in lines)


def parse(text: str) -> Resolver:
    nameservers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        match line.split("#")[0].split():
            case ["nameserver", address, *_]:
                nameservers.append(address)
            case ["search", *names]:
                searches = names
            case ["options", *names]:
                options = names
    return Resolver(tuple(nameservers), tuple(searches), tuple(options))


def resolver(pod: Pod, node: Resolver, cluster_dns: tuple[str, ...], domain: str) -> Resolver:
    """By the pod's dnsPolicy and dnsConfig."""
    policy = pod.spec.dnsPolicy or "ClusterFirst"
    # Upstream: ClusterFirst means nothing to a pod in the node's network; it must say ClusterFirstWithHostNet.
    clustered = policy == "ClusterFirstWithHostNet" or (policy == "ClusterFirst" and not pod.spec.hostNetwork)
    if policy == "None":
        found = Resolver()
    elif clustered and cluster_dns:
        own = (f"{pod.metadata.namespace}.svc.{domain}", f"svc.{domain}", domain)
        found = Resolver(cluster_dns, own + tuple(s for s in node.searches if s not in own), ("ndots:5",))
    else:
        found = node
    if (config := pod.spec.dnsConfig) is None:
        return found
    options = {o.partition(":")[0]: o for o in found.options}
    options |= {o.name or "": f"{o.name}:{o.value}" if o.value else o.name or "" for o in config.options}
    return Resolver(
        tuple(dict.fromkeys((*found.nameservers, *config.nameservers))),
        tuple(dict.fromkeys((*found.searches, *config.searches))),
        tuple(options.values()),
    )


def hosts(pod: Pod, address: str, hostname: str, domain: str, node_hosts: str) -> str:
    """The text of /etc/hosts."""
    if pod.spec.hostNetwork:
        text = "# Kubernetes-managed hosts file (host network).\n" + node_hosts
    else:
        names = hostname
        if pod.spec.subdomain:
            names = f"{hostname}.{pod.spec.subdomain}.{pod.metadata.namespace}.svc.{domain}\t{hostname}"
        lines = ["# Kubernetes-managed hosts file.", *HEADER, *([f"{address}\t{names}"] if address else [])]
        text = "\n".join(lines) + "\n"
    if pod.spec.hostAliases:
        text += "\n# Entries added by HostAliases.\n"
        text += "".join("\t".join([a.ip or "", *a.hostnames]) + "\n" for a in pod.spec.hostAliases)
    return text
