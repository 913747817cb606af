"""What a node holds for pods and Services outside of containers: wires, control groups, directories, mounts, rules."""

import json
from dataclasses import dataclass, field
from typing import Any

from kube_proxy.mirrors import text
from kube_proxy.rules import TABLE

ServedPort = tuple[str, str, str]
"""Address, protocol, port."""

# One program for all of it, since each call into a container costs a tenth of a second. A node's own end of its wire to
# the lab's network is a veth, too, but it is called eth0.
PROGRAM = f"""
import json, os, re, subprocess, sys
root, group = sys.argv[1:]
run = lambda *command: subprocess.run(command, check=True, capture_output=True, text=True).stdout
names = lambda place: os.listdir(place) if os.path.isdir(place) else []
points = [line.split()[4] for line in open("/proc/self/mountinfo")]
groups = [directory for _, directories, _ in os.walk(group) for directory in directories]
print(json.dumps({{
    "wires": sum(": veth" in line for line in run("ip", "-o", "link", "show", "type", "veth").splitlines()),
    "groups": [name for name in groups if re.fullmatch("pod[0-9a-f-]{{36}}", name)],
    "directories": names(root + "/pods"),
    "mounts": [point for point in points if point.startswith(root + "/pods/")],
    "rules": json.loads(run("nft", "-j", "list", "table", "ip", "{TABLE}")),
}}))
"""


@dataclass(frozen=True, slots=True)
class Remains:
    wires: int = 0
    """How many ends of pods' wires there are."""
    groups: frozenset[str] = frozenset()
    """Uids of pods that have a control group."""
    directories: frozenset[str] = frozenset()
    """Uids of pods that have a directory."""
    mounts: frozenset[str] = frozenset()
    """Uids of pods below whose directories something is mounted."""
    rules: dict[ServedPort, set[str]] = field(default_factory=dict)
    """Where the kernel takes what is sent there: address:port."""


def parsed(said: bytes) -> Remains:
    """What PROGRAM printed."""
    told = json.loads(said)
    return Remains(
        told["wires"],
        frozenset(name.removeprefix("pod") for name in told["groups"]),
        frozenset(told["directories"]),
        frozenset(point.partition("/pods/")[2].partition("/")[0] for point in told["mounts"]),
        _endpoints(told["rules"]),
    )


def _endpoints(listed: dict[str, Any]) -> dict[ServedPort, set[str]]:
    """Of all addresses; a port of nodes has none, and is not of interest here."""
    found: dict[ServedPort, set[str]] = {}
    # Without its chains a table serves nothing, whatever its maps hold.
    if not any("rule" in each for each in listed["nftables"]):
        return found
    for each in listed["nftables"]:
        map_ = each.get("map", {})
        if map_.get("name", "").startswith("endpoints-"):
            for key, value in map_.get("elem", []):
                address, protocol, port, _ = text(key).split(" . ")
                found.setdefault((address, protocol, port), set()).add(text(value).replace(" . ", ":"))
    return found
