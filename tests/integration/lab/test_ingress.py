"""examples/ingress.yaml: from Ingress objects to answers at the address of its load balancer."""

import base64
import http.client
import json
import socket
import ssl
import threading
import time
from contextlib import closing

import pytest

from machinery.certificates import Authority, Subject
from tests.integration.lab.answering import pod
from wherry import bringing_up
from wherry.images import TAG
from wherry.kubectl import Kubectl
from wherry.labs import PROJECT
from wherry.progress import Progress

AUTHORITY = Authority.create("test")
EXAMPLE = (PROJECT / "examples" / "ingress.yaml").read_text().replace("wherry/ingress:dev", f"wherry/ingress:{TAG}")


@pytest.fixture(scope="module")
def address(lab):
    """Where the controller answers."""
    with Progress() as progress:
        bringing_up.prepare(progress, "ingress").close()
    own = Kubectl(lab, "ingress")
    own("apply", "-f", "-", stdin=EXAMPLE)
    own("rollout", "status", "deployment/ingress-controller", "--timeout=60s")
    own("wait", "service/ingress", "--for=jsonpath={.status.loadBalancer.ingress}", "--timeout=30s")
    yield own("get", "service", "ingress", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}")
    own("delete", "-f", "-", stdin=EXAMPLE)


def service(name="web", **labels):
    spec = {"selector": {"app": "answering", **labels}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
    return json.dumps({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})


def ingress(host, name="web", path="/", class_="haproxy", **spec):
    backend = {"service": {"name": "web", "port": {"name": "http"}}}
    rules = [{"host": host, "http": {"paths": [{"path": path, "pathType": "Prefix", "backend": backend}]}}]
    metadata = {"name": name}
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress"}
    return json.dumps({**kind, "metadata": metadata, "spec": {"ingressClassName": class_, "rules": rules, **spec}})


@pytest.fixture
def host(kubectl):
    """A name of the test's own."""
    return f"{kubectl.namespace}.example"


@pytest.fixture
def served(kubectl, host):
    """A pod behind a Service behind an Ingress."""
    for manifest in (service(), pod("one"), ingress(host)):
        kubectl("apply", "-f", "-", stdin=manifest)
    kubectl("wait", "pod/one", "--for=condition=Ready", "--timeout=60s")


def ask(address, host, path="/"):
    """(status, who answers); (0, why) if nobody does."""
    try:
        with closing(http.client.HTTPConnection(address, timeout=5)) as connection:
            connection.request("GET", path, headers={"Host": host})
            answer = connection.getresponse()
            return answer.status, answer.read().decode().split()[0]
    except OSError as e:
        return 0, str(e)


def certified(address, host):
    """The names on the certificate that is shown, if it is of our authority's and for the host."""
    context = ssl.create_default_context(cadata=AUTHORITY.pair.certificate.decode())
    try:
        with socket.create_connection((address, 443), 5) as raw, context.wrap_socket(raw, server_hostname=host) as tls:
            return {name for _, name in tls.getpeercert()["subjectAltName"]}
    except ssl.SSLError:
        return set()


def soon(holds):
    """Packets have no watch. It takes a quarter of a second where nobody else needs the machine."""
    end = time.monotonic() + 5
    while not (found := holds()):
        assert time.monotonic() < end
    return found


@pytest.mark.usefixtures("served")
def test_an_ingress_has_the_load_balancers_address_and_leads_to_its_pods(kubectl, address, host):
    kubectl("wait", "ingress/web", f"--for=jsonpath={{.status.loadBalancer.ingress[0].ip}}={address}", "--timeout=30s")
    row = kubectl("get", "ingress", "web", "--no-headers").split()
    assert row[:4] == ["web", "haproxy", host, address]
    soon(lambda: ask(address, host) == (200, "one"))
    assert ask(address, f"other-{host}") == (404, "default")
    kubectl("delete", "ingress", "web")
    soon(lambda: ask(address, host) == (404, "default"))


@pytest.mark.usefixtures("served")
def test_a_change_of_rules_or_endpoints_shows_soon_and_costs_no_request(kubectl, address, host):
    soon(lambda: ask(address, host) == (200, "one"))
    end, faults = threading.Event(), []

    def asking():
        while not end.is_set():
            if (told := ask(address, host))[0] != 200:
                faults.append(told)

    threads = [threading.Thread(target=asking) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        kubectl("apply", "-f", "-", stdin=pod("two"))
        kubectl("wait", "pod/two", "--for=condition=Ready", "--timeout=60s")
        soon(lambda: {ask(address, host) for _ in range(4)} == {(200, "one"), (200, "two")})
        for number in range(3):
            name = f"more{number}"
            kubectl("apply", "-f", "-", stdin=ingress(f"{name}.{host}", name))
            soon(lambda n=name: ask(address, f"{n}.{host}")[0] == 200)
        kubectl("label", "pod", "one", "app=quiet", "--overwrite")
        soon(lambda: {ask(address, host) for _ in range(4)} == {(200, "two")})
    finally:
        end.set()
        for thread in threads:
            thread.join()
    assert faults == []


@pytest.mark.usefixtures("served")
def test_a_secret_brings_the_hosts_certificate_and_its_successor(kubectl, address, host):
    def certificate(*names):
        pair = AUTHORITY.issue(Subject(host, (), names))
        data = {n: base64.b64encode(v).decode() for n, v in (("tls.crt", pair.certificate), ("tls.key", pair.key))}
        kind = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls"}
        kubectl("apply", "-f", "-", stdin=json.dumps({**kind, "metadata": {"name": "tls"}, "data": data}))

    kubectl("apply", "-f", "-", stdin=ingress(host, tls=[{"hosts": [host], "secretName": "tls"}]))
    kubectl.until(lambda events: any(e["reason"] == "SecretNotFound" for e in events.values()), "events")
    assert certified(address, host) == set()
    certificate(host)
    soon(lambda: certified(address, host) == {host})
    certificate(host, "renewed.example")
    soon(lambda: certified(address, host) == {host, "renewed.example"})


def test_an_ingress_of_another_class_is_not_served(kubectl, address, host):
    for manifest in (service(), pod("one"), ingress(host, class_="other"), ingress(f"a.{host}", "ours")):
        kubectl("apply", "-f", "-", stdin=manifest)
    kubectl("wait", "pod/one", "--for=condition=Ready", "--timeout=60s")
    soon(lambda: ask(address, f"a.{host}") == (200, "one"))
    assert ask(address, host) == (404, "default")
    assert kubectl("get", "ingress", "web", "-o", "jsonpath={.status.loadBalancer.ingress}") == ""


def test_an_ingress_without_a_class_gets_the_default_one(kubectl, address, host):
    created = json.loads(ingress(host))
    del created["spec"]["ingressClassName"]
    kubectl("apply", "-f", "-", stdin=json.dumps(created))
    assert kubectl("get", "ingress", "web", "-o", "jsonpath={.spec.ingressClassName}") == "haproxy"
    soon(lambda: ask(address, host)[0] == 503)
    kubectl.until(lambda events: any(e["reason"] == "ServiceNotFound" for e in events.values()), "events")
