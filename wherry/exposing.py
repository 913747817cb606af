"""`wherry expose`: a Service at a port of this machine, after the lab was made.

The engine publishes ports only of new containers, so each exposed Service gets one of its own on the lab's network,
which carries connections to the Service's address. It comes back with the engine, and goes with the lab.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import docker
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container

from wherry import engine
from wherry.composing import Compose
from wherry.images import TAG
from wherry.kubectl import Kubectl
from wherry.labs import Lab
from wherry.troubles import Trouble

LAB, SERVICE = "io.wherry.exposes", "io.wherry.exposed"
KINDS = frozenset({"service", "services", "svc"})
DOMAIN = "svc.cluster.local."
TAKEN = ("address already in use", "port is already allocated")


@dataclass(frozen=True, slots=True)
class Exposed:
    """`ports` are pairs: this machine's, the Service's."""

    namespace: str
    name: str
    address: str
    ports: tuple[tuple[int, int], ...]

    @property
    def label(self) -> str:
        return f"{self.namespace}/{self.name}"

    def container(self, lab: Lab) -> str:
        # No name in Kubernetes has an underscore: a-b/c is another Service than a/b-c.
        return f"{lab.name}-expose-{self.namespace}_{self.name}"

    def __str__(self) -> str:
        where = (f"{self.address}:{port} → {target}" for port, target in self.ports)
        return f"service/{self.name:20} {self.namespace:20} {', '.join(where)}"


def wanted(service: dict[str, Any], ports: Sequence[str], address: str) -> Exposed:
    """What to expose of a Service as the API tells it; without `ports`, each at its own number. Raises Trouble."""
    metadata, spec = service["metadata"], service["spec"]
    part = f"service {metadata['namespace']}/{metadata['name']}"
    if spec.get("clusterIP") in (None, "", "None"):
        kind = "headless" if spec.get("clusterIP") == "None" else "of type ExternalName"
        raise Trouble(part, f"it is {kind}", advice="Expose a Service with an address of its own.")
    there = {p["port"]: p for p in spec["ports"] if p.get("protocol", "TCP") == "TCP"}
    named = {p["name"]: p["port"] for p in there.values() if p.get("name")}
    pairs = []
    for text in ports or [str(port) for port in there]:
        first, _, second = text.rpartition(":")
        target = named.get(second) or (int(second) if second.isdecimal() else 0)
        if target not in there:
            told = ", ".join(map(str, there)) or "none"
            raise Trouble(part, f"it has no TCP port {second}", advice=f"Its TCP ports: {told}.")
        if first and not (first.isdecimal() and 0 < int(first) < 65536):
            raise Trouble(part, f"{first!r} is no port of this machine", advice="Write --port 8080:80.")
        pairs.append((int(first) if first else target, target))
        if [port for port, _ in pairs].count(pairs[-1][0]) > 1:
            raise Trouble(part, f"port {pairs[-1][0]} of this machine is named twice")
    if not pairs:
        raise Trouble(part, "it has no TCP ports", advice="Other protocols are not carried.")
    return Exposed(metadata["namespace"], metadata["name"], address, tuple(pairs))


def expose(lab: Lab, resource: str, namespace: str, ports: Sequence[str], address: str) -> Exposed:
    """In the place of what was exposed of that Service before. Raises Trouble."""
    chosen = wanted(Kubectl(lab, namespace).json("get", "service", service_name(resource)), ports, address)
    docker_engine = _engine()
    remove(docker_engine, lab, chosen.label)
    _start(docker_engine, lab, chosen)
    return chosen


def service_name(resource: str) -> str:
    """Raises Trouble if it is not service/NAME."""
    kind, slash, name = resource.partition("/")
    if not slash or kind not in KINDS or not name:
        advice = f"Write service/NAME; `kubectl expose {resource}` makes a Service of what has pods."
        raise Trouble("expose", f"{resource!r} is no Service", advice=advice)
    return name


def _create(docker_engine: docker.DockerClient, lab: Lab, chosen: Exposed) -> Container:
    nodes = [f"{lab.network}.{100 + number}" for number in range(1, Compose(lab).nodes() + 1)]
    resolvers = [f"{lab.network}.{number}" for number in (50, 51)]
    pairs = [f"{port}:{target}" for port, target in chosen.ports]
    name = f"{chosen.name}.{chosen.namespace}.{DOMAIN}"
    return docker_engine.containers.create(
        f"wherry/component:{TAG}",
        ["wherry.forwarding", "--name", name, "--resolvers", *resolvers, "--nodes", *nodes, "--", *pairs],
        name=chosen.container(lab),
        labels={LAB: lab.name, SERVICE: chosen.label},
        network=f"{lab.name}_lab",
        ports={f"{port}/tcp": (chosen.address, port) for port, _ in chosen.ports},
        cap_add=["NET_ADMIN"],
        restart_policy={"Name": "unless-stopped"},  # type: ignore[arg-type]  # the stubs ask for more than the engine
    )


def _start(docker_engine: docker.DockerClient, lab: Lab, chosen: Exposed) -> None:
    try:
        made = _create(docker_engine, lab, chosen)
    except APIError as e:
        raise Trouble("expose", "the engine does not make the forwarder", str(e.explanation or e)) from e
    try:
        made.start()
    except APIError as e:
        made.remove(force=True)
        told = str(e.explanation or e)
        if any(words in told for words in TAKEN):
            taken = ", ".join(str(port) for port, _ in chosen.ports if f":{port}" in told) or "that was asked for"
            advice = f"Stop what listens there (`ss -ltnp`), or choose another: --port 8080:{chosen.ports[0][1]}."
            raise Trouble("expose", f"port {taken} of this machine is taken", told, advice) from e
        raise Trouble("expose", "the engine does not start the forwarder", told) from e


def remove(docker_engine: docker.DockerClient, lab: Lab, label: str = "") -> list[str]:
    """What was exposed of one Service, or of all; returns their labels."""
    gone = []
    for container in _containers(docker_engine, lab):
        if label in ("", container.labels.get(SERVICE)):
            try:
                container.remove(force=True)
            except NotFound:
                continue  # it was leaving anyway
            gone.append(container.labels[SERVICE])
    return gone


def listed(docker_engine: docker.DockerClient, lab: Lab) -> list[Exposed]:
    return sorted((_told(c) for c in _containers(docker_engine, lab)), key=lambda e: e.label)


def _told(container: Container) -> Exposed:
    namespace, _, name = container.labels[SERVICE].partition("/")
    bindings = container.attrs["HostConfig"]["PortBindings"]
    address = next(b[0]["HostIp"] for b in bindings.values())
    # The pairs are the last words of its command.
    words = container.attrs["Config"]["Cmd"]
    pairs = (text.partition(":") for text in words[words.index("--") + 1 :])
    return Exposed(namespace, name, address, tuple((int(port), int(target)) for port, _, target in pairs))


def _containers(docker_engine: docker.DockerClient, lab: Lab) -> list[Container]:
    ours: dict[str, str | list[str] | bool] = {"label": f"{LAB}={lab.name}"}
    return list(docker_engine.containers.list(all=True, filters=ours, ignore_removed=True))


def _engine() -> docker.DockerClient:
    try:
        return engine.client()
    except DockerException as e:
        raise Trouble("engine", "no Docker engine answers", str(e), "scripts/up starts one.") from e


def main(
    lab: Lab, resource: str, namespace: str, ports: Sequence[str], address: str, *, removing: bool = False
) -> int:  # fmt: skip
    """An exit code: 0, 1 after trouble that it has told. Without a resource it lists."""
    try:
        if not resource:
            print("\n".join(map(str, listed(_engine(), lab))) or "Nothing is exposed.")
        elif removing:
            label = f"{namespace}/{service_name(resource)}"
            if not remove(_engine(), lab, label):
                raise Trouble("expose", f"service {label} is not exposed")
            print(f"service {label} is no longer exposed")
        else:
            print(f"exposed {expose(lab, resource, namespace, ports, address)}")
    except Trouble as trouble:
        print(trouble, file=sys.stderr)
        return 1
    return 0
