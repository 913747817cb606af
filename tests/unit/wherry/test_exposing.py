import pytest

from wherry.exposing import service_name, wanted
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


@pytest.mark.parametrize(("address", "kind"), [("None", "headless"), (None, "of type ExternalName")])
def test_a_service_without_an_address_is_refused(address, kind):
    with pytest.raises(Trouble, match=f"service shop/web: it is {kind}"):
        wanted({**SERVICE, "spec": {"clusterIP": address, "ports": []}}, [], "127.0.0.1")


def test_only_services_are_exposed():
    assert [service_name(f"{kind}/web") for kind in ("service", "svc", "services")] == ["web"] * 3
    for resource in ("deployment/web", "web", "service/"):
        with pytest.raises(Trouble, match="is no Service"):
            service_name(resource)
