"""`wherry up`: from a machine with packages to three answering pods. Every step may be repeated."""

import asyncio
import shlex
import sys
from pathlib import Path

import docker

from machinery import pairs
from wherry import certificates, diagnoses, engine, images, shrinking, waiting
from wherry.cleaning import remove_nodes
from wherry.composing import Compose
from wherry.kubectl import Kubectl, binary
from wherry.labs import PROJECT, Lab, node_names
from wherry.locks import alone
from wherry.progress import Progress
from wherry.troubles import Trouble

EXAMPLE = PROJECT / "examples" / "hello.yaml"
# Pods of before, whose containers are only coming back, do not answer yet; nothing tells a client when they will.
ANSWERS = """
import sys, time, urllib.request
seen, fault, end = set(), "", time.monotonic() + 60
while len(seen) < int(sys.argv[2]) and time.monotonic() < end:
    try:
        seen.add(urllib.request.urlopen("http://%s/" % sys.argv[1], timeout=5).read().decode().strip())
    except OSError as e:
        fault = e
        time.sleep(0.1)
print("\\n".join(sorted(seen)))
sys.exit(len(seen) < int(sys.argv[2]) and "only %d answered; %s" % (len(seen), fault))
"""
PODS = 3


def up(lab: Lab, nodes: int | None, *, ha: bool | None = None, example: bool = True) -> None:
    """Raises Trouble. None means as it was before: three nodes and one of each master, if it never was."""
    with Progress() as progress:
        compose = Compose(lab)
        several = compose.has_several_masters()
        docker_engine = prepare(progress, balancer=several if ha is None else ha)
        if ha is not None and ha != several:
            refuse_other_members(lab, docker_engine, ha=ha)
        # Also if nothing was asked for: what an older release has generated says how that one is started.
        compose.choose(nodes or compose.nodes(), ha=several if ha is None else ha)
        names = node_names(compose.nodes())
        start(lab, names, docker_engine, progress)
        if example:
            kubectl = Kubectl(lab)
            with progress.step("example hello") as step:
                step.waits_for("kubectl apply -f examples/hello.yaml")
                kubectl("apply", "-f", str(EXAMPLE))
                step.waits_for("three pods to be Ready")
                kubectl("rollout", "status", "deployment/hello", "--timeout=120s")
    if example:
        show(lab, docker_engine)
    print(guidance(lab))


def prepare(progress: Progress, *also: str, balancer: bool = False) -> docker.DockerClient:
    """An engine that answers and has every image, and those that are named. Raises Trouble."""
    with progress.step("Docker engine") as step:
        docker_engine = engine.ensure(step)
    images.Builder(PROJECT, docker_engine, progress).all(*also, balancer=balancer)
    return docker_engine


def start(lab: Lab, names: list[str], docker_engine: docker.DockerClient, progress: Progress) -> None:
    """From certificates to Ready nodes. Raises Trouble."""
    refuse_another_checkouts(lab, docker_engine)
    with progress.step("certificates"):
        certificates.write(lab.pki, names, lab.network)
    write_kubeconfigs(lab)
    with progress.step("docker compose up") as step:
        for line in Compose(lab).up():
            step.passes(line)
        remove_nodes(docker_engine, lab, keep=names)
    with progress.step("API") as step:
        asyncio.run(waiting.for_api(docker_engine, lab, step))
    with progress.step("nodes") as step:
        asyncio.run(waiting.for_nodes(docker_engine, lab, names, step))
        if gone := asyncio.run(shrinking.forget_nodes(lab, names)):
            step.waits_for(f"the lab no longer has {', '.join(gone)}")


def refuse_another_checkouts(lab: Lab, docker_engine: docker.DockerClient) -> None:
    """Two checkouts would take one lab from each other, certificates and all. Raises Trouble."""
    for container in diagnoses.services(docker_engine, lab).values():
        place = container.labels.get("com.docker.compose.project.working_dir", "")
        if place and Path(place) != PROJECT:
            advice = (
                "scripts/down takes it down from here too; or choose another COMPOSE_PROJECT_NAME (see compose.yaml)."
            )
            raise Trouble("lab", f"{place} has a lab of the name {lab.name!r}", advice=advice)


def refuse_other_members(lab: Lab, docker_engine: docker.DockerClient, *, ha: bool) -> None:
    """What one etcd has written is not what three agree on, nor the other way round. Raises Trouble."""
    if docker_engine.volumes.list(filters={"name": f"{lab.name}_etcd"}):
        there, wanted = ("one etcd", "--ha") if ha else ("three etcd members", "--no-ha")
        advice = f"scripts/down, which forgets every object, then scripts/up {wanted}."
        raise Trouble("etcd", f"the lab has the data of {there}", advice=advice)


def write_kubeconfigs(lab: Lab) -> None:
    for path, port in ((lab.kubeconfig, lab.api_port), (lab.grpc_kubeconfig, lab.grpc_port)):
        content = certificates.access(lab.pki, f"https://127.0.0.1:{port}", lab.name)
        pairs.replace(path, content, 0o600)


def show(lab: Lab, docker_engine: docker.DockerClient) -> None:
    """What now runs, and that it answers. Raises Trouble."""
    kubectl = Kubectl(lab)
    print("\n$ kubectl get all -o wide")
    print(kubectl("get", "all", "-o", "wide"))
    address = kubectl("get", "service", "hello", "-o", "jsonpath={.spec.clusterIP}")
    print(f"$ curl http://{address}/   # from node1, until every pod has answered")
    print(ask(lab, docker_engine, address, PODS))


def ask(lab: Lab, docker_engine: docker.DockerClient, address: str, enough: int) -> str:
    """So many different answers of a Service, asked from the first node. Raises Trouble."""
    node = docker_engine.containers.get(lab.container("node1-kubelet"))
    code, output = node.exec_run(["python3", "-c", ANSWERS, address, str(enough)])
    assert isinstance(output, bytes)  # an iterator only where a stream was asked for
    said = output.decode(errors="replace").strip()
    if code:
        advice = f"See `docker logs {lab.container('node1-kube-proxy')}`."
        raise Trouble("service hello", f"not all pods answer through {address} on node1", said, advice)
    return said


def guidance(lab: Lab) -> str:
    here = shlex.quote(_short(lab.kubeconfig))
    kubectl = shlex.quote(_short(Path(binary())))
    return f"""
The cluster is up. Use it:
  export KUBECONFIG={here}
  {kubectl} get nodes -o wide
Merge it into your own configuration:
  (umask 077; KUBECONFIG=~/.kube/config:{here} {kubectl} config view --flatten > merged && mv merged ~/.kube/config)
Take it down: scripts/down   (scripts/down --keep-data keeps every object)"""


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def main(lab: Lab, nodes: int | None, *, ha: bool | None, example: bool) -> int:
    """An exit code: 0, 1 after trouble that it has told, 130 if interrupted."""
    try:
        with alone(lab):
            up(lab, nodes, ha=ha, example=example)
    except Trouble as trouble:
        print(f"\nscripts/up failed.\n{trouble}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. scripts/up goes on from here; scripts/down clears everything.", file=sys.stderr)
        return 130
    return 0
