"""Every port that the lab listens on or publishes stands in docs/security.md, and nothing else does."""

import re
from typing import Any

import yaml

from wherry.composing import document
from wherry.labs import NODES, PROJECT

TEMPLATE = yaml.safe_load((PROJECT / "compose.yaml").read_text())
LISTENS = re.compile(r"--[\w-]*(?:port|bind-address|listen-[\w-]*urls)=(?:.*:)?(\d+)$")
"""A flag that names a port to listen on. A bare bind address has none."""
BINDS = re.compile(r"^\s*bind \S*:(\d+)", re.MULTILINE)
PUBLISHES = re.compile(r"(127\.0\.0\.1):\$\{\w+:-\d+\}:(\d+)")
Ports = set[tuple[str, str]]
Services = dict[str, dict[str, Any]]


def part(service: str) -> str:
    """cluster-dns of cluster-dns1, kubelet of node3-kubelet."""
    return re.sub(r"^node\d+-|\d+$", "", service)


def rows() -> list[list[str]]:
    told = (PROJECT / "docs" / "security.md").read_text().split("\n## Ports\n", 1)[1].split("\n\n")
    table = next(block for block in told if block.startswith("| port |"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def told(*, published: bool = False) -> Ports:
    """(part, port) of every row about a service of the lab; what nodes have besides, pods and Services say."""
    return {
        (row[1], port)
        for row in rows()
        for port in row[0].split(", ")
        if row[1] != "node" and (row[4] == "127.0.0.1" or not published)
    }


def listening(services: Services) -> Ports:
    found = set()
    for name, service in services.items():
        for flag in service.get("command", []):
            if match := LISTENS.search(flag):
                found.add((part(name), match[1]))
    return found


def published(services: Services) -> Ports:
    ports = [(part(name), str(port)) for name, s in services.items() for port in s.get("ports", [])]
    matches = [(name, PUBLISHES.fullmatch(port)) for name, port in ports]
    assert all(match for _, match in matches)  # each on 127.0.0.1
    return {(name, match[2]) for name, match in matches if match}


def test_the_table_has_every_port_that_a_service_listens_on_and_no_other() -> None:
    balancer = {("balancer", p) for p in BINDS.findall((PROJECT / "images" / "balancer" / "haproxy.cfg").read_text())}
    assert told() == listening(TEMPLATE["services"]) | balancer


def test_the_table_has_every_port_that_is_published_and_no_other() -> None:
    several = document(TEMPLATE, NODES, ha=True)["services"]
    assert told(published=True) == published(TEMPLATE["services"]) | published(several)


def test_a_lab_with_several_masters_listens_on_the_same_ports() -> None:
    assert listening(document(TEMPLATE, NODES, ha=True)["services"]) == listening(TEMPLATE["services"])
