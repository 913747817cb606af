"""The `wherry` command. Each verb loads what it needs when it is called, so that `--help` costs nothing."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Wherry's lab.")
snapshot = typer.Typer(no_args_is_help=True, help="A whole lab in a file, and a lab from that file.")
app.add_typer(snapshot, name="snapshot")


@app.command()
def up(
    nodes: Annotated[int | None, typer.Option(min=1, max=100, help="How many nodes; as before if left out.")] = None,
    capacity: Annotated[str, typer.Option(help="Of each node: cpu=1,memory=4Gi; else WHERRY_NODE_CAPACITY.")] = "",
    ha: Annotated[
        bool | None, typer.Option(help="Three etcd members and API servers, two of the others; as before if left out.")
    ] = None,
    example: Annotated[bool, typer.Option(help="Deploy examples/hello.yaml and show it answer.")] = True,
) -> None:
    """Bring the lab up, whatever is missing, and wait until it is Ready."""
    from wherry import bringing_up
    from wherry.labs import Lab

    lab = Lab.from_environment()
    lab = replace(lab, capacity=capacity or lab.capacity)
    raise typer.Exit(bringing_up.main(lab, nodes, ha=ha, example=example))


@app.command()
def down(
    keep_data: Annotated[bool, typer.Option("--keep-data", help="Keep etcd's volume: the next up finds it.")] = False,
) -> None:
    """Remove everything that the lab and its pods have made."""
    from wherry import cleaning
    from wherry.labs import Lab

    raise typer.Exit(cleaning.main(Lab.from_environment(), keep_data=keep_data))


@app.command()
def status() -> None:
    """Say how each part is, and which nodes are Ready."""
    from wherry import reporting
    from wherry.labs import Lab

    raise typer.Exit(reporting.status(Lab.from_environment()))


@app.command()
def why(pod: str, namespace: Annotated[str, typer.Option("--namespace", "-n")] = "default") -> None:
    """Let the scheduler explain why a pod is where it is, or nowhere."""
    from wherry import reporting
    from wherry.labs import Lab

    raise typer.Exit(reporting.why(Lab.from_environment(), namespace, pod))


@app.command()
def expose(
    resource: Annotated[str, typer.Argument(help="service/NAME; without it, what is exposed is listed.")] = "",
    namespace: Annotated[str, typer.Option("--namespace", "-n")] = "default",
    port: Annotated[list[str] | None, typer.Option(help="8080:80, or 80; by default each TCP port at its own.")] = None,
    address: Annotated[str, typer.Option(help="Of this machine.")] = "127.0.0.1",
    remove: Annotated[bool, typer.Option("--remove", help="Take it back.")] = False,
) -> None:
    """Let a Service answer at ports of this machine, until the lab goes down."""
    from wherry import exposing
    from wherry.labs import Lab

    raise typer.Exit(exposing.main(Lab.from_environment(), resource, namespace, port or (), address, removing=remove))


@snapshot.command()
def save(
    file: Path,
    volumes: Annotated[bool, typer.Option("--volumes", help="Also what pods have written to their claims.")] = False,
) -> None:
    """Every object and the lab's keys, while it runs."""
    from wherry import snapshots
    from wherry.labs import Lab

    raise typer.Exit(snapshots.save_main(Lab.from_environment(), file, volumes=volumes))


@snapshot.command()
def restore(
    file: Path,
    force: Annotated[bool, typer.Option("--force", help="First take down what is there; it is lost.")] = False,
) -> None:
    """A lab as it was when the file was saved, pods included."""
    from wherry import snapshots
    from wherry.labs import Lab

    raise typer.Exit(snapshots.restore_main(Lab.from_environment(), file, force=force))


certificates = typer.Typer(no_args_is_help=True, help="Until when certificates last, and new ones while the lab runs.")
app.add_typer(certificates, name="certificates")


@certificates.command()
def check_expiration() -> None:
    """Say until when each certificate lasts, and by which authority it is."""
    from wherry import renewing
    from wherry.labs import Lab

    raise typer.Exit(renewing.main(Lab.from_environment(), renewing.check, ()))


@certificates.command()
def renew(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="As check-expiration has them, authorities too, or service-accounts; else all but those."),
    ] = None,
) -> None:
    """Issue new certificates, which the running lab takes up by itself."""
    from wherry import renewing
    from wherry.labs import Lab

    raise typer.Exit(renewing.main(Lab.from_environment(), renewing.renew, names or ()))


@certificates.command()
def forget(
    names: Annotated[list[str], typer.Argument(help="ca, etcd-ca, front-proxy-ca, service-accounts")],
) -> None:
    """Believe only the newest of what was renewed."""
    from wherry import renewing
    from wherry.labs import Lab

    raise typer.Exit(renewing.main(Lab.from_environment(), renewing.forget, names))


@certificates.command()
def make(
    directory: Annotated[Path, typer.Option("--dir", help="Where the directories go.")],
    nodes: Annotated[list[str] | None, typer.Option(help="A node's name; may be repeated.")] = None,
    network: Annotated[str, typer.Option(help="First three numbers of the lab's /24.")] = "10.123.0",
) -> None:
    """Make the certificates that are missing."""
    from wherry.certificates import main as write
    from wherry.labs import NODES, node_names

    write(["--dir", str(directory), "--network", network, "--nodes", *(nodes or node_names(NODES))])


@app.command()
def images(
    also: Annotated[list[str] | None, typer.Argument(help="ingress: what examples/ingress.yaml needs.")] = None,
) -> None:
    """Build the images that are missing or older than the source."""
    from wherry.bringing_up import prepare
    from wherry.progress import Progress

    with Progress() as progress:
        prepare(progress, *also or ())


node = typer.Typer(no_args_is_help=True, help="Take a node's power or its way to the control plane, and give it back.")
app.add_typer(node, name="node")


@node.command()
def stop(name: str) -> None:
    """Power a node off: its kubelet, its proxy and its pods' containers are killed."""
    from wherry import nodes, powering
    from wherry.labs import Lab

    raise typer.Exit(nodes.main(Lab.from_environment(), name, powering.stop))


@node.command()
def start(name: str) -> None:
    """Power a stopped node on."""
    from wherry import nodes, powering
    from wherry.labs import Lab

    raise typer.Exit(nodes.main(Lab.from_environment(), name, powering.start))


@node.command()
def cut(
    name: str,
    one_way: Annotated[Literal["in", "out"] | None, typer.Option(help="Lose only what comes in, or goes out.")] = None,
) -> None:
    """Cut a node off from the control plane; its pods keep running."""
    from wherry import cutting, nodes
    from wherry.labs import Lab

    way = cutting.Way(one_way) if one_way else None
    raise typer.Exit(nodes.main(Lab.from_environment(), name, partial(cutting.cut, one_way=way)))


@node.command()
def mend(name: str) -> None:
    """Give a node that was cut off its way to the control plane back."""
    from wherry import cutting, nodes
    from wherry.labs import Lab

    raise typer.Exit(nodes.main(Lab.from_environment(), name, cutting.mend))


def main() -> None:
    app()


if __name__ == "__main__":
    main()
