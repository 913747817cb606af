"""`wherry expose`: ports of this machine that lead to Services."""

import socket

import pytest

from machinery.testing import free_port
from tests.integration.lab.answering import ask, pod, unreachable
from wherry import exposing
from wherry.kubectl import Kubectl
from wherry.troubles import Trouble

SERVICE = '{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"selector": {"app": "answering"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}}'


@pytest.fixture
def served(kubectl, docker_engine, lab):
    """A Service with a pod on each of two nodes; what is exposed of it goes with the test."""
    kubectl("apply", "-f", "-", stdin=SERVICE)
    for number in (1, 2):
        kubectl("apply", "-f", "-", stdin=pod(f"on{number}", f"node{number}"))
    kubectl("wait", "pods", "--all", "--for=condition=Ready", "--timeout=60s")
    yield kubectl.namespace
    exposing.remove(docker_engine, lab, f"{kubectl.namespace}/web")


def answers(port, times=20):
    found = set()
    for _ in range(times):
        try:
            found.add(ask("127.0.0.1", port)[0])
        except OSError:
            continue  # it has only begun
    return found


def test_a_service_answers_at_a_port_of_this_machine_until_it_is_taken_back(served, lab, docker_engine, capfd):
    port = free_port()
    assert exposing.main(lab, "service/web", served, [f"{port}:http"], "127.0.0.1") == 0
    while not (found := answers(port)):
        pass
    assert found | answers(port) == {"on1", "on2"}
    capfd.readouterr()
    assert exposing.main(lab, "", "default", [], "127.0.0.1") == 0
    assert f"127.0.0.1:{port} → 80" in capfd.readouterr().out
    other = free_port()
    exposing.expose(lab, "svc/web", served, [f"{other}:80"], "127.0.0.1")
    while not answers(other):
        pass
    assert unreachable("127.0.0.1", port)
    assert exposing.main(lab, "svc/web", served, [], "127.0.0.1", removing=True) == 0
    assert unreachable("127.0.0.1", other)
    assert exposing.main(lab, "svc/web", served, [], "127.0.0.1", removing=True) == 1
    assert "is not exposed" in capfd.readouterr().err


def test_a_service_that_is_made_anew_answers_again(served, lab, kubectl):
    port = free_port()
    exposing.expose(lab, "svc/web", served, [f"{port}:80"], "127.0.0.1")
    while not answers(port):
        pass
    kubectl("delete", "service", "web")
    assert answers(port, 3) == set()
    kubectl("apply", "-f", "-", stdin=SERVICE)
    while not answers(port):
        pass


def test_a_taken_port_is_told(served, lab):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Trouble, match=f"port {port} of this machine is taken"):
            exposing.expose(lab, "service/web", served, [f"{port}:80"], "127.0.0.1")
    assert all(each.namespace != served for each in exposing.listed(exposing._engine(), lab))


def test_a_service_that_is_not_there_is_told(lab, everywhere: Kubectl):
    with pytest.raises(Trouble, match='services "nowhere" not found'):
        exposing.expose(lab, "service/nowhere", "default", [], "127.0.0.1")
