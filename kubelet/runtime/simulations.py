"""What the kubelet's flags say of the simulated runtime."""

import argparse
from dataclasses import dataclass

LONGEST_LATENCY = 3600.0


@dataclass(frozen=True, slots=True)
class Simulation:
    nodes: int = 1  # in this process
    latency: tuple[float, float] = (0.0, 0.0)  # seconds that a start takes, at least and at most
    missing: tuple[str, ...] = ()  # patterns of images that cannot be pulled


def add_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--simulated-nodes", type=int, default=1,
        help="how many nodes this process plays: NAME-0, NAME-1 …, at --port, --port+2 …; its user must be permitted "
        "to write for all of them",
    )  # fmt: skip
    add("--simulated-start-latency", type=_between, default=(0.0, 0.0), metavar="LEAST..MOST", help="seconds")
    add("--simulated-missing-images", default="", help="patterns, comma-separated: their pulls fail")


def read(flags: argparse.Namespace) -> Simulation:
    """Raises ValueError."""
    if flags.simulated_nodes < 1:
        raise ValueError("--simulated-nodes must be a positive number")
    if flags.simulated_nodes > 1 and flags.runtime != "simulated":
        raise ValueError("--simulated-nodes needs --runtime=simulated")
    missing = tuple(p for p in flags.simulated_missing_images.split(",") if p)
    return Simulation(flags.simulated_nodes, flags.simulated_start_latency, missing)


def _between(text: str) -> tuple[float, float]:
    """0.1..0.5, or 0.3 for always the same."""
    least, _, most = text.partition("..")
    try:
        found = float(least), float(most or least)
    except ValueError as e:
        raise argparse.ArgumentTypeError(f"{text!r} is not LEAST..MOST") from e
    if not 0 <= found[0] <= found[1] <= LONGEST_LATENCY:
        raise argparse.ArgumentTypeError(f"{text!r} is not LEAST..MOST")
    return found
