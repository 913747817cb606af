"""`wherry snapshot save` and `restore`: a whole lab in a file, and a lab from that file.

What is saved is what etcd's members have on their disks, while they stand still: the engine freezes them for as long as
their directories are read, a moment in which the API waits and nobody is cut off. To etcd the copy is what a machine
has after its power failed, and that is what its log is for. etcd's own snapshot would not stop it, but only its
etcdctl makes a member of it again, and the component image does not have that. Freezing serves three members as well
as one: frozen together, they agree on whatever was acknowledged before.

Containers are not saved: a kubelet that finds a pod without its containers makes them.
"""

import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import docker
from docker.errors import NotFound
from docker.models.containers import Container

from api import times
from wherry import archives, bringing_up, cleaning, diagnoses, engine, masters
from wherry.archives import Description, Snapshot
from wherry.composing import Compose
from wherry.labs import Lab, node_names
from wherry.locks import alone
from wherry.progress import Progress
from wherry.troubles import Trouble

ETCD = "/var/lib/etcd"


def save(lab: Lab, path: Path, *, volumes: bool) -> None:
    """Raises Trouble. The lab runs on."""
    refuse_a_place_of_the_lab(lab, path)
    compose = Compose(lab)
    ha = compose.has_several_masters()
    with Progress() as progress:
        with progress.step("Docker engine") as step:
            docker_engine = engine.ensure(step)
        members = [_container(docker_engine, lab, name) for name in etcd_members(ha=ha)]
        refuse_what_does_not_run(members)
        description = Description(lab.name, lab.network, compose.nodes(), ha, times.format(time.time()))
        try:
            with ExitStack() as held, archives.written(path, description) as archive:
                archive.keys(lab.pki)
                with progress.step("etcd"):
                    with frozen(members):
                        copies = [held.enter_context(_copied(member, ETCD, path.parent)) for member in members]
                    for name, copy in zip(etcd_members(ha=ha), copies, strict=True):
                        archive.stream(f"etcd/{name}.tar", copy)
                for node in node_names(compose.nodes()) if volumes else ():
                    with progress.step(f"volumes of {node}"):
                        kubelet = _container(docker_engine, lab, f"{node}-kubelet")
                        try:
                            with _copied(kubelet, f"{_root(lab, node)}/volumes", path.parent) as copy:
                                archive.stream(f"volumes/{node}.tar", copy)
                        except NotFound:
                            continue  # no claim has ever had a volume there
        except OSError as e:
            raise Trouble("snapshot", f"{path} cannot be written", str(e), "Choose another place.") from e


def restore(lab: Lab, path: Path, *, force: bool) -> None:
    """From the file to Ready nodes; the kubelets then make the pods' containers. Raises Trouble."""
    refuse_a_place_of_the_lab(lab, path)
    snapshot = Snapshot(path)
    refuse_another_network(lab, snapshot.description)
    description = snapshot.description
    if force:
        with alone(lab):
            cleaning.down(lab, keep_data=False)
    with alone(lab), Progress() as progress:
        docker_engine = bringing_up.prepare(progress, balancer=description.ha)
        refuse_what_is_there(lab, docker_engine)
        compose = Compose(lab)
        with progress.step("snapshot") as step:
            snapshot.write_keys(lab.pki)
            compose.choose(description.nodes, ha=description.ha)
            for line in compose.create():
                step.passes(line)
            for name in snapshot.names:
                kind, _, of = name.removesuffix(".tar").partition("/")
                if kind == "etcd":
                    _container(docker_engine, lab, of).put_archive(str(Path(ETCD).parent), snapshot.stream(name))
                elif kind == "volumes":
                    kubelet = _container(docker_engine, lab, f"{of}-kubelet")
                    kubelet.put_archive(_root(lab, of), snapshot.stream(name))
        bringing_up.start(lab, node_names(description.nodes), docker_engine, progress)


def refuse_a_place_of_the_lab(lab: Lab, path: Path) -> None:
    """What stands there goes when the lab is taken down. Raises Trouble."""
    for place in (lab.state, lab.data):
        if path.resolve().is_relative_to(place.resolve()):
            raise Trouble("snapshot", f"{place} is removed with the lab", advice="Keep the file somewhere else.")


def refuse_another_network(lab: Lab, description: Description) -> None:
    """Raises Trouble."""
    if description.network != lab.network:
        reason = f"the snapshot is of a lab in {description.network}.0/24, and this one is in {lab.network}.0/24"
        advice = (
            f"Its objects speak of those addresses (load balancers, endpoints, nodes): set WHERRY_NETWORK="
            f"{description.network}, and take down whichever lab has that network on this machine."
        )
        raise Trouble("snapshot", reason, advice=advice)


def refuse_what_is_there(lab: Lab, docker_engine: docker.DockerClient) -> None:
    """A lab that runs would write into what is restored; one that has data would lose it. Raises Trouble."""
    if diagnoses.services(docker_engine, lab):
        reason = f"there is a lab of the name {lab.name!r}"
    elif lab.pki.exists() or docker_engine.volumes.list(filters={"name": f"{lab.name}_etcd"}):
        reason = f"the lab {lab.name!r} has left its objects or its keys"
    else:
        return
    raise Trouble("snapshot", reason, advice="scripts/down, or --force, which does that first: what it has is lost.")


def refuse_what_does_not_run(members: Iterable[Container]) -> None:
    """A member that has stopped may have less than what the others have agreed on since. Raises Trouble."""
    for member in members:
        if member.status == "paused":
            advice = f"`docker unpause {member.name}`: a save that was killed has left it so."
            raise Trouble("snapshot", f"{member.name} is frozen", advice=advice)
        if member.status != "running":
            raise Trouble("snapshot", f"{member.name} does not run ({member.status})", advice="scripts/up first.")


def etcd_members(*, ha: bool) -> list[str]:
    return masters.names("etcd") if ha else ["etcd"]


@contextmanager
def frozen(members: list[Container]) -> Iterator[None]:
    """None of their processes runs within the block, however that is left: SIGTERM ends it as Ctrl-C does."""
    with ExitStack() as paused:
        paused.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, signal.default_int_handler))
        for member in members:
            member.pause()
            paused.callback(member.unpause)
        yield


@contextmanager
def _copied(container: Container, place: str, beside: Path) -> Iterator[IO[bytes]]:
    """A tar of a directory of a container, in a file without a name. Raises NotFound."""
    pieces, _ = container.get_archive(place, chunk_size=archives.CHUNK)
    with tempfile.TemporaryFile(dir=beside) as copy:
        for piece in pieces:
            copy.write(piece)
        yield copy


def _container(docker_engine: docker.DockerClient, lab: Lab, service: str) -> Container:
    try:
        return docker_engine.containers.get(lab.container(service))
    except NotFound as e:
        raise Trouble("snapshot", f"the lab {lab.name!r} has no {service}", advice="scripts/up first.") from e


def _root(lab: Lab, node: str) -> str:
    return str(lab.data / "kubelet" / node)


def save_main(lab: Lab, path: Path, *, volumes: bool) -> int:
    """An exit code: 0, 1 after trouble that it has told, 130 if interrupted."""

    def work() -> str:
        with alone(lab):
            save(lab, path, volumes=volumes)
        return f"{path} has the lab, its keys too: it is for its owner only."

    return _told("save", work)


def restore_main(lab: Lab, path: Path, *, force: bool) -> int:
    """An exit code, as `save_main`."""

    def work() -> str:
        restore(lab, path, force=force)
        return bringing_up.guidance(lab)

    return _told("restore", work)


def _told(verb: str, work: Callable[[], str]) -> int:
    try:
        print(work())
    except Trouble as trouble:
        print(f"\nwherry snapshot {verb} failed.\n{trouble}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. No file has changed; scripts/down clears a lab that is half restored.", file=sys.stderr)
        return 130
    return 0
