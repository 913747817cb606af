"""Row 9 of the walk, by name: what pods find when they ask for services, endpoints and addresses.

Whoever asks for a name that is nowhere ends it with a dot: without, resolvers would ask beyond the cluster for it.
"""

import json
import subprocess

import pytest

from wherry.kubectl import Kubectl

# Its resolver is glibc's, as most pods have it; for other types of records it has a library.
ASKER = """
apiVersion: v1
kind: Pod
metadata: {name: asker}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: asker, image: "wherry/component:dev", imagePullPolicy: Never, command: [sleep, infinity]}]
"""
FETCH = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode().strip())"
RESOLVE = """
import json, sys, dns.message, dns.query, dns.rcode
query = dns.message.make_query(sys.argv[1], sys.argv[2])
answer = getattr(dns.query, sys.argv[3])(query, "10.96.0.10", timeout=5)
found = [record.to_text() for rrset in answer.answer for record in rrset]
print(json.dumps([dns.rcode.to_text(answer.rcode()), sorted(found)]))
"""
# Asks again and again until there are so many addresses, a second at most.
COUNT = """
import sys, time, dns.resolver
resolver, end, found = dns.resolver.Resolver(), time.monotonic() + 1, []
while len(found) != int(sys.argv[2]) and time.monotonic() < end:
    try:
        found = [record.address for record in resolver.resolve(sys.argv[1], "A")]
    except dns.resolver.NXDOMAIN:
        found = []
print(len(found))
"""
HEADLESS = """
apiVersion: v1
kind: Service
metadata: {name: peers}
spec: {clusterIP: None, selector: {app: test1}, ports: [{name: http, port: 80, targetPort: 8080}]}
"""
STABLE = """
apiVersion: v1
kind: Pod
metadata: {name: first, labels: {app: db}}
spec: {hostname: db-0, subdomain: db, containers: [{name: c, image: "hewon16/image1:1"}]}
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{name: sql, port: 5432, targetPort: 8080}]}
"""


class Asker:
    """A pod that asks for names."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl
        kubectl("apply", "-f", "-", stdin=ASKER)
        kubectl("wait", "--for=condition=Ready", "pod/asker", "--timeout=30s")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return self._kubectl.run("exec", "asker", "--", *command)

    def python(self, program: str, *arguments: str) -> str:
        ran = self.run("python3", "-c", program, *arguments)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    def fetch(self, host: str) -> str:
        return self.python(FETCH, f"http://{host}/")

    def addresses(self, host: str) -> set[str]:
        return {line.split()[0] for line in self.run("getent", "ahostsv4", host).stdout.splitlines()}

    def resolve(self, name: str, type_: str = "A", by: str = "udp") -> tuple[str, list[str]]:
        rcode, found = json.loads(self.python(RESOLVE, name, type_, by))
        return rcode, found


@pytest.fixture
def asker(kubectl):
    return Asker(kubectl)


@pytest.fixture
def served(kubectl, manifests, running):
    kubectl("apply", "-f", f"{manifests}/svc.yaml", "-f", f"{manifests}/deploy.yaml")
    return running(3)


def addresses_of(pods):
    return {pod["status"]["podIP"] for pod in pods}


def until_ready(kubectl, service, count):
    """Waits until so many endpoints of a service are ready."""

    def ready(slices):
        endpoints = [e for s in slices.values() for e in s.get("endpoints") or []]
        return sum(bool(e["conditions"].get("ready")) for e in endpoints) == count

    kubectl.until(ready, "endpointslices", "-l", f"kubernetes.io/service-name={service}")


def cluster_ip(kubectl, name):
    return kubectl("get", "service", name, "-o", "jsonpath={.spec.clusterIP}")


@pytest.mark.usefixtures("served")
def test_a_service_answers_by_each_of_its_names(kubectl, asker):
    until_ready(kubectl, "test-svc", 3)
    own = kubectl.namespace
    ip = cluster_ip(kubectl, "test-svc")
    for name in ("test-svc", f"test-svc.{own}", f"test-svc.{own}.svc", f"test-svc.{own}.svc.cluster.local"):
        assert asker.addresses(name) == {ip}, name
        assert asker.fetch(name).startswith("test name: test1-"), name
    assert asker.addresses("TEST-SVC") == {ip}


def test_a_newcomers_wget_meets_every_pod_by_the_services_name(kubectl, served):
    until_ready(kubectl, "test-svc", 3)
    loop = "for i in $(seq 60); do wget -qO- test-svc; done"
    answers = kubectl("exec", served[0]["metadata"]["name"], "--", "sh", "-c", loop).splitlines()
    assert len(answers) == 60
    assert set(answers) == {f"test name: {pod['metadata']['name']}" for pod in served}


def test_another_namespaces_services_need_its_name(everywhere, kubectl, asker):
    assert asker.addresses("kubernetes.default") == {cluster_ip(everywhere, "kubernetes")}
    assert asker.resolve(f"kubernetes.{kubectl.namespace}.svc.cluster.local.")[0] == "NXDOMAIN"


def test_a_headless_service_names_its_pods_and_follows_them_within_a_second(kubectl, served, running, asker):
    kubectl("apply", "-f", "-", stdin=HEADLESS)
    until_ready(kubectl, "peers", 3)
    name = f"peers.{kubectl.namespace}.svc.cluster.local."
    assert asker.python(COUNT, name, "3") == "3"
    assert asker.addresses("peers") == addresses_of(served)
    for count in (5, 1):
        kubectl("scale", "deployment/test1", f"--replicas={count}")
        until_ready(kubectl, "peers", count)
        assert asker.python(COUNT, name, str(count)) == str(count)
    assert asker.addresses("peers") == addresses_of(running(1))
    kubectl("scale", "deployment/test1", "--replicas=0")
    until_ready(kubectl, "peers", 0)
    assert asker.python(COUNT, name, "0") == "0"
    assert asker.resolve(name)[0] == "NXDOMAIN"


def test_a_pod_with_host_name_and_subdomain_has_a_name_of_its_own(kubectl, asker):
    kubectl("apply", "-f", "-", stdin=STABLE)
    kubectl("wait", "--for=condition=Ready", "pod/first", "--timeout=30s")
    until_ready(kubectl, "db", 1)
    address = kubectl("get", "pod", "first", "-o", "jsonpath={.status.podIP}")
    zone = f"db.{kubectl.namespace}.svc.cluster.local."
    assert asker.addresses("db-0.db") == {address}
    assert asker.resolve(f"_sql._tcp.{zone}", "SRV") == ("NOERROR", [f"0 100 8080 db-0.{zone}"])
    backwards = ".".join(reversed(address.split("."))) + ".in-addr.arpa."
    assert asker.resolve(backwards, "PTR") == ("NOERROR", [f"db-0.{zone}"])


@pytest.mark.parametrize("by", ["udp", "tcp"])
def test_ports_and_addresses_of_services_are_found(asker, by):
    name = "kubernetes.default.svc.cluster.local."
    assert asker.resolve(f"_https._tcp.{name}", "SRV", by) == ("NOERROR", [f"0 100 443 {name}"])
    assert asker.resolve("1.0.96.10.in-addr.arpa.", "PTR", by) == ("NOERROR", [name])
    assert asker.resolve("dns-version.cluster.local.", "TXT", by) == ("NOERROR", ['"1.1.0"'])


def test_no_such_name_is_not_no_such_data(kubectl, asker):
    name = "kubernetes.default.svc.cluster.local."
    assert asker.resolve(name, "AAAA") == ("NOERROR", [])
    assert asker.resolve(f"no-{name}") == ("NXDOMAIN", [])
    assert asker.addresses(f"no-{name}") == set()
    assert asker.resolve("254.254.96.10.in-addr.arpa.", "PTR") == ("NXDOMAIN", [])
    own = kubectl.namespace
    assert asker.resolve(f"10-1-2-3.{own}.pod.cluster.local.") == ("NOERROR", ["10.1.2.3"])
    assert asker.resolve(f"10-1-2-3.no-{own}.pod.cluster.local.") == ("NXDOMAIN", [])


def test_names_of_services_of_other_places_are_aliases(kubectl, asker):
    kubectl("create", "service", "externalname", "out", "--external-name", "kubernetes.default.svc.cluster.local")
    out = f"out.{kubectl.namespace}.svc.cluster.local."
    assert asker.resolve(out) == ("NOERROR", ["10.96.0.1", "kubernetes.default.svc.cluster.local."])


def test_other_names_are_asked_of_the_machines_resolver(asker, lab):
    # The lab's own name for its API server: the engine knows it, and asks nobody else.
    assert asker.resolve("apiserver.") == ("NOERROR", [f"{lab.network}.20"])


def test_cluster_info_tells_where_names_are_served(everywhere):
    assert "services/kube-dns:dns/proxy" in everywhere("cluster-info")
    assert cluster_ip(Kubectl(everywhere.lab, "kube-system"), "kube-dns") == "10.96.0.10"


# From here on: the cases of upstream's test/e2e/network/dns.go that stand for something new, retold.


QUERIER = """
apiVersion: v1
kind: Pod
metadata: {name: querier, labels: {app: querier}}
spec:
  hostname: dns-querier-2
  subdomain: dns-test-service-2
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: "wherry/component:dev", imagePullPolicy: Never, command: [sleep, infinity]}]
---
apiVersion: v1
kind: Service
metadata: {name: dns-test-service-2}
spec: {clusterIP: None, selector: {app: querier}, ports: [{name: http, port: 80}]}
"""
CONFIGURED = """
apiVersion: v1
kind: Pod
metadata: {name: asker}
spec:
  dnsPolicy: None
  dnsConfig:
    nameservers: [10.96.0.10]
    searches: [%s]
    options: [{name: ndots, value: "2"}]
  terminationGracePeriodSeconds: 0
  containers: [{name: asker, image: "wherry/component:dev", imagePullPolicy: Never, command: [sleep, infinity]}]
"""


def test_a_pod_knows_its_own_names_from_etc_hosts_and_the_cluster_knows_them_too(kubectl, asker):
    kubectl("apply", "-f", "-", stdin=QUERIER)
    kubectl("wait", "pod/querier", "--for=condition=Ready", "--timeout=30s")
    address = kubectl("get", "pod", "querier", "-o", "jsonpath={.status.podIP}")
    whole = f"dns-querier-2.dns-test-service-2.{kubectl.namespace}.svc.cluster.local"
    for name in (whole, "dns-querier-2"):
        assert kubectl("exec", "querier", "--", "getent", "hosts", name).split() == [address, whole, "dns-querier-2"]
    until_ready(kubectl, "dns-test-service-2", 1)
    assert asker.addresses(whole) == asker.addresses("dns-querier-2.dns-test-service-2") == {address}


@pytest.mark.parametrize("by", ["udp", "tcp"])
def test_a_service_and_its_headless_twin_have_addresses_ports_and_names_for_addresses(kubectl, asker, by):
    kubectl("apply", "-f", "-", stdin=QUERIER)
    kubectl("wait", "pod/querier", "--for=condition=Ready", "--timeout=30s")
    kubectl("expose", "pod", "querier", "--name=test-service-2", "--port=80", "--target-port=80")
    kubectl("patch", "service", "test-service-2", "--type=json", "-p",
            '[{"op": "add", "path": "/spec/ports/0/name", "value": "http"}]')  # fmt: skip
    until_ready(kubectl, "dns-test-service-2", 1)
    own = f"{kubectl.namespace}.svc.cluster.local."
    pod, address = (
        kubectl("get", "pod", "querier", "-o", "jsonpath={.status.podIP}"),
        cluster_ip(kubectl, "test-service-2"),
    )
    assert asker.resolve(f"dns-test-service-2.{own}", "A", by) == ("NOERROR", [pod])
    assert asker.resolve(f"test-service-2.{own}", "A", by) == ("NOERROR", [address])
    target = f"dns-querier-2.dns-test-service-2.{own}"
    assert asker.resolve(f"_http._tcp.dns-test-service-2.{own}", "SRV", by) == ("NOERROR", [f"0 100 80 {target}"])
    expected = ("NOERROR", [f"0 100 80 test-service-2.{own}"])
    assert asker.resolve(f"_http._tcp.test-service-2.{own}", "SRV", by) == expected
    backwards = ".".join(reversed(address.split("."))) + ".in-addr.arpa."
    assert asker.resolve(backwards, "PTR", by) == ("NOERROR", [f"test-service-2.{own}"])


def test_an_alias_follows_its_service_and_becomes_an_address(kubectl, asker):
    kubectl("create", "service", "externalname", "alias", "--external-name", "foo.example.com")
    name = f"alias.{kubectl.namespace}.svc.cluster.local."
    assert asker.resolve(name, "CNAME") == ("NOERROR", ["foo.example.com."])
    kubectl("patch", "service", "alias", "-p", '{"spec": {"externalName": "bar.example.com"}}')
    assert asker.resolve(name, "CNAME") == ("NOERROR", ["bar.example.com."])
    ports = '[{"port": 80, "name": "http", "protocol": "TCP"}]'
    kubectl(
        "patch",
        "service",
        "alias",
        "-p",
        f'{{"spec": {{"type": "ClusterIP", "externalName": null, "ports": {ports}}}}}',
    )
    assert asker.resolve(name) == ("NOERROR", [cluster_ip(kubectl, "alias")])


def test_a_pod_may_say_itself_whom_it_asks_and_with_many_long_search_paths(kubectl):
    own = f"{kubectl.namespace}.svc.cluster.local"
    searches = [f"{'x' * 55}{n}.example" for n in range(7)] + ["svc.cluster.local", own]
    kubectl("apply", "-f", "-", stdin=CONFIGURED % ", ".join(searches))
    kubectl("wait", "pod/asker", "--for=condition=Ready", "--timeout=30s")
    told = kubectl("exec", "asker", "--", "cat", "/etc/resolv.conf").splitlines()
    assert told == [f"search {' '.join(searches)}", "nameserver 10.96.0.10", "options ndots:2"]
    assert "10.96.0.1" in kubectl("exec", "asker", "--", "getent", "ahostsv4", "kubernetes.default")
