import pytest
from docker.errors import APIError

from wherry import exposing
from wherry.exposing import Exposed, service_name, wanted
from wherry.labs import Lab
from wherry.troubles import Trouble

SERVICE = {
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {
        "clusterIP": "10.96.0.7",
        "ports": [{"name": "http", "port": 80}, {"port": 443, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
    },
}


@pytest.mark.parametrize(
    ("asked", "pairs"),
    [
        ([], ((80, 80), (443, 443))),
        (["8080:80"], ((8080, 80),)),
        (["8443:443", "8080:http"], ((8443, 443), (8080, 80))),
        (["80"], ((80, 80),)),
        (["http"], ((80, 80),)),
    ],
)
def test_ports_are_this_machines_and_the_services(asked, pairs):
    assert wanted(SERVICE, asked, "127.0.0.1").ports == pairs


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ("8080:81", "it has no TCP port 81"), ("53", "it has no TCP port 53"), ("8080:", "it has no TCP port "),
        ("x:80", "'x' is no port of this machine"), ("70000:80", "'70000' is no port of this machine"),
    ],
)  # fmt: skip
def test_other_ports_are_refused(asked, why):
    with pytest.raises(Trouble) as trouble:
        wanted(SERVICE, [asked], "127.0.0.1")
    assert trouble.value.reason == why


def test_one_port_of_this_machine_leads_to_one_of_the_services():
    with pytest.raises(Trouble, match="port 80 of this machine is named twice"):
        wanted(SERVICE, ["80", "80:443"], "127.0.0.1")


def test_each_service_has_a_container_of_its_own():
    lab = Lab.from_environment()
    one, other = (
        Exposed(namespace, name, "127.0.0.1", ((80, 80),)) for namespace, name in (("a-b", "c"), ("a", "b-c"))
    )
    assert one.container(lab) != other.container(lab)


class Refusing:
    """An engine that makes no containers."""

    containers: "Refusing"

    def __init__(self) -> None:
        self.containers = self

    def create(self, *_: object, **__: object) -> None:
        raise APIError("409 Client Error", explanation="Conflict. The name is in use")


def test_an_engine_that_refuses_is_told(monkeypatch):
    monkeypatch.setattr(exposing.Compose, "nodes", lambda _: 1)
    with pytest.raises(Trouble, match="does not make the forwarder"):
        exposing._start(Refusing(), Lab.from_environment(), Exposed("a", "b", "127.0.0.1", ((80, 80),)))


@pytest.mark.parametrize(("address", "kind"), [("None", "headless"), (None, "of type ExternalName")])
def test_a_service_without_an_address_is_refused(address, kind):
    with pytest.raises(Trouble, match=f"service shop/web: it is {kind}"):
        wanted({**SERVICE, "spec": {"clusterIP": address, "ports": []}}, [], "127.0.0.1")


def test_only_services_are_exposed():
    assert [service_name(f"{kind}/web") for kind in ("service", "svc", "services")] == ["web"] * 3
    for resource in ("deployment/web", "web", "service/"):
        with pytest.raises(Trouble, match="is no Service"):
            service_name(resource)
