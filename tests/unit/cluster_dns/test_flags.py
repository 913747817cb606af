from ipaddress import IPv4Network
from pathlib import Path

import pytest

from cluster_dns.__main__ import parse
from cluster_dns.forwarding import Upstream

ADVERTISED = ["--advertise-address", "10.123.0.50"]


def test_the_service_stands_at_the_tenth_address_of_its_range() -> None:
    config = parse([*ADVERTISED, "--service-cluster-ip-range", "10.97.0.0/16", "--cluster-cidr", "10.245.0.0/16"])
    assert config.layout.address == "10.97.0.10"
    assert config.layout.ranges == (IPv4Network("10.97.0.0/16"), IPv4Network("10.245.0.0/16"))
    assert config.advertised == "10.123.0.50"


def test_the_domain_is_written_with_or_without_a_last_dot() -> None:
    for text in ("Cluster.Example", "cluster.example."):
        assert parse([*ADVERTISED, "--cluster-domain", text]).layout.domain == "cluster.example."


def test_an_address_is_needed_to_be_found_and_for_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse([])
    assert "--advertise-address is needed, or --publish=false" in capsys.readouterr().err
    assert parse(["--publish=false"]).advertised == ""
    assert parse(["--publish=false", *ADVERTISED]).advertised == ""


def test_the_server_never_asks_itself(tmp_path: Path) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_text("nameserver 10.96.0.10\nnameserver 10.123.0.50\nnameserver 192.0.2.53\n")
    assert parse([*ADVERTISED, "--resolv-conf", str(conf)]).upstreams == (Upstream("192.0.2.53"),)
