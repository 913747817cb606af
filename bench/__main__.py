"""`scripts/bench [NAME…] [--json FILE]`: run benchmarks and show them beside the reference figures."""

import argparse
import asyncio
import sys
from pathlib import Path

import uvloop

from bench import (
    api,
    besieged,
    controllers,
    fleet,
    large,
    memory,
    node,
    overload,
    pods,
    proxy,
    resolving,
    rest,
    results,
    rolling,
    scale,
    scheduling,
    servers,
    start,
    watchers,
)
from wherry.labs import Lab

ON_A_LAB = {"api": api.run, "pods": pods.run, "scale": scale.run, "watchers": watchers.run}
NAMES = (
    "start",
    "memory",
    "node",
    "pods",
    "scale",
    "api",
    "watchers",
    "large",
    "controllers",
    "overload",
    "besieged",
    "scheduler",
    "proxy",
    "fleet",
    "dns",
    "rolling",
)
WITHOUT_A_LAB = {"start", "controllers", "overload", "besieged", "scheduler", "proxy", "fleet", "dns"}


async def measure(names: list[str], kubeconfig: Path, project: str) -> list[results.Result]:
    """Each benchmark in turn; a lab of the user's is measured as it stands."""
    found: list[results.Result] = []
    for name in names:
        print(f"{name} …", file=sys.stderr, flush=True)
        if name == "start":
            found += await start.run()
        elif name == "controllers":
            found += await controllers.run()
        elif name == "overload":
            found += await overload.run()
        elif name == "besieged":
            found += await besieged.run()
        elif name == "scheduler":
            found += await scheduling.run()
        elif name == "proxy":
            found += await proxy.run()
        elif name == "fleet":
            found += await fleet.run()
        elif name == "dns":
            found += await resolving.run()
        elif name == "memory":
            found += await asyncio.to_thread(memory.run, project)
        else:
            async with rest.connected(kubeconfig) as client:
                if name == "node":
                    found += await node.run(client, project)
                elif name == "large":
                    found += await large.run(client, servers.of_lab(project))
                elif name == "rolling":
                    found += await rolling.run(client, project)
                else:
                    found += await ON_A_LAB[name](client)
    return found


def main() -> int:
    lab = Lab.from_environment()
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)}; all if none is named")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    parser.add_argument("--kubeconfig", type=Path, default=lab.kubeconfig, help="the lab to measure: %(default)s")
    told = parser.parse_args()
    names = told.names or list(NAMES)
    if unknown := set(names) - set(NAMES):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    if not {*names} <= WITHOUT_A_LAB and not told.kubeconfig.exists():
        parser.error(f"{told.kubeconfig} does not exist: scripts/up first")
    found = uvloop.run(measure(names, told.kubeconfig, lab.name))
    print(results.table(found))
    if told.json:
        told.json.write_bytes(results.document(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
