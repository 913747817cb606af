"""What docs/security.md promises, attacked: from within a pod, with a node's credentials, by odd paths and headers.

Roles are attacked in tests/integration/api (test_roles, test_identities, test_csr), subPaths and what a container may do
in tests/integration/kubelet (test_sub_paths, test_confinement).
"""

import json
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from tests.integration.lab.answering import SERVER
from wherry.kubectl import Kubectl
from wherry.labs import Lab

NAMESPACE = "{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}"
# Runs in the pod: what it finds of the machine that it must not.
LOOK_AROUND = """
import json, os, subprocess, sys
def opens_a_disk():
    name, major, minor = next((w[3], int(w[0]), int(w[1])) for w in map(str.split, open("/proc/partitions")) if w and w[0].isdigit())
    os.mknod("/tmp/" + name, 0o600 | 0o060000, os.makedev(major, minor))
    open("/tmp/" + name, "rb").read(1)
def mounts():
    subprocess.run(["mount", "-t", "tmpfs", "none", "/mnt"], check=True, stderr=subprocess.DEVNULL)
def succeeds(attack):
    try:
        attack()
    except (OSError, subprocess.CalledProcessError):
        return False
    return True
programs = [open(f"/proc/{p}/cmdline").read().split("\\0")[0] for p in os.listdir("/proc") if p.isdigit()]
print(json.dumps({
    "paths": [p for p in sys.argv[1:] if os.path.lexists(p)],
    "programs": sorted({p for p in programs if p}),
    "attacks": [a.__name__ for a in (opens_a_disk, mounts) if succeeds(a)],
}))
"""
CONNECT = """
import errno, socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)
    print("connected")
except OSError as e:
    print(errno.errorcode.get(e.errno, repr(e)))
"""
# Asks one after the other; prints the statuses, or "refused" where the connection ended instead.
ASK = """
import http.client, json, ssl, sys
context = ssl._create_unverified_context()
told = []
for method, host, port, path, headers, token in json.loads(sys.argv[1]):
    if token:
        headers["Authorization"] = "Bearer " + open("/var/run/secrets/kubernetes.io/serviceaccount/token").read()
    connection = http.client.HTTPSConnection(host, port, timeout=5, context=context)
    try:
        connection.request(method, path, "{}" if method == "POST" else None, headers)
        told.append(connection.getresponse().status)
    except (OSError, http.client.HTTPException):
        told.append("refused")
    connection.close()
print(json.dumps(told))
"""
API = "10.96.0.1", 443


class Question(NamedTuple):
    """Of the attacker, with the token of its pod or without."""

    method: str
    host: str
    port: int
    path: str
    headers: dict[str, str]
    token: bool = True


@dataclass(frozen=True)
class Scene:
    """A namespace with a secret, a pod on node1 that has it mounted, and a hostile pod on node2."""

    lab: Lab
    kubectl: Kubectl

    def inside(self, script: str, *arguments: str) -> str:
        return self.kubectl("exec", "attacker", "--", "python3", "-c", script, *arguments).strip()

    def asks(self, *questions: Question) -> list[int | str]:
        """The statuses that the attacker gets, or "refused"."""
        told: list[int | str] = json.loads(self.inside(ASK, json.dumps(questions)))
        return told

    def address(self, last: int) -> str:
        return f"{self.lab.network}.{last}"

    @property
    def here(self) -> str:
        return f"/api/v1/namespaces/{self.kubectl.namespace}"

    def get(self, host: str, port: int, path: str, pair: tuple[Path, Path] | None) -> tuple[int, str]:
        """From this machine, with a certificate and its key.  Raises OSError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it is the server that is on trial
        if pair:
            context.load_cert_chain(*pair)
        connection = HTTPSConnection(host, port, timeout=5, context=context)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def pair(self, component: str, name: str = "tls") -> tuple[Path, Path]:
        return self.lab.pki / component / f"{name}.crt", self.lab.pki / component / f"{name}.key"

    def as_(self, component: str, path: str) -> int:
        """What the API server answers to a component's certificate."""
        return self.get("127.0.0.1", self.lab.api_port, path, self.pair(component))[0]


def pod(name: str, node: str, **spec: Any) -> dict[str, Any]:
    container = {
        "name": "main", "image": "wherry/component:dev", "command": ["python3", "-c", SERVER],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    }  # fmt: skip
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0, "nodeName": node, **spec},
    }  # fmt: skip


@pytest.fixture(scope="module")
def scene(lab: Lab) -> Iterator[Scene]:
    kubectl = Kubectl(lab, f"attacks-{uuid4().hex[:8]}")
    kubectl("apply", "-f", "-", stdin=NAMESPACE.format(name=kubectl.namespace))
    kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=30s")
    kubectl("create", "secret", "generic", "treasure", "--from-literal=gold=here")
    volumes = [{"name": "treasure", "secret": {"secretName": "treasure"}}]
    for each in (pod("victim", "node1", volumes=volumes), pod("attacker", "node2")):
        kubectl("apply", "-f", "-", stdin=json.dumps(each))
    kubectl("wait", "--for=condition=Ready", "pod/victim", "pod/attacker", "--timeout=60s")
    yield Scene(lab, kubectl)
    kubectl("delete", "namespace", kubectl.namespace, "--wait=false")


def test_a_pod_finds_neither_the_engine_nor_its_nodes_files_nor_other_processes(scene: Scene) -> None:
    places = ("/var/run/docker.sock", "/etc/wherry", str(scene.lab.data), str(scene.lab.state), "/var/lib/docker")
    token = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # which it does have, so the look is a look
    found = json.loads(scene.inside(LOOK_AROUND, *places, token))
    assert found == {"paths": [token], "programs": ["python3"], "attacks": []}


@pytest.mark.parametrize("address", ["169.254.169.254", "169.254.170.2"])
def test_what_clouds_tell_their_machines_is_not_told_to_pods(scene: Scene, node: Any, address: str) -> None:
    route = node("node2").run("ip", "route", "show", "169.254.0.0/16")
    assert route.startswith("unreachable")  # or else the next lines would send something
    assert scene.inside(CONNECT, address, "80") == "EHOSTUNREACH"
    assert node("node2").run("python3", "-c", CONNECT, address, "80").strip() == "EHOSTUNREACH"


def test_etcd_answers_none_but_the_api_servers(scene: Scene) -> None:
    etcd = scene.address(10)
    assert scene.get(etcd, 2379, "/health", scene.pair("apiserver", "etcd-client"))[0] == 200
    for pair in (None, scene.pair("node1-kubelet"), scene.pair("apiserver"), scene.pair("admin")):
        for port in (2379, 2380):
            with pytest.raises(OSError, match=r"alert|reset|certificate|EOF"):
                scene.get(etcd, port, "/health", pair)
    assert scene.asks(Question("GET", etcd, 2379, "/health", {})) == ["refused"]


@pytest.mark.parametrize("last", [101, 102], ids=["another node's", "its own node's"])
def test_a_kubelet_refuses_a_pod(scene: Scene, last: int) -> None:
    run = f"/run/{scene.kubectl.namespace}/victim/main?cmd=id"
    pages = [("GET", "/pods"), ("GET", "/metrics"), ("GET", "/logs/"), ("POST", run)]
    kubelet = scene.address(last)
    for token, answer in ((False, 401), (True, 403)):
        questions = [Question(method, kubelet, 10250, path, {}, token) for method, path in pages]
        assert scene.asks(*questions) == [answer] * len(pages)
    assert scene.asks(Question("GET", kubelet, 10251, "/", {})) == ["refused"]


def test_what_is_the_nodes_own_is_not_the_pods(scene: Scene) -> None:
    assert scene.inside(CONNECT, scene.address(102), "10256") == "connected"
    assert scene.inside(CONNECT, scene.address(102), "10249") == "ECONNREFUSED"


def test_a_pod_without_rights_gets_nothing_of_others(scene: Scene) -> None:
    here = scene.here
    attacks = [
        ("GET", f"{here}/secrets/treasure"),
        ("GET", "/api/v1/secrets"),
        ("POST", f"{here}/serviceaccounts/default/token"),
        ("POST", f"{here}/pods/victim/exec?command=cat&command=/etc/shadow&stdout=true"),
        ("GET", f"{here}/pods/victim/log"),
        ("POST", f"{here}/pods"),
        ("GET", "/api/v1/nodes/node1/proxy/pods"),
        ("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"),
    ]
    # The first is for everybody who is somebody, so the token is good.
    asked = [("GET", "/apis/authentication.k8s.io/v1"), *attacks]
    answers = scene.asks(*(Question(method, *API, path, {}) for method, path in asked))
    assert dict(zip(asked, answers, strict=True)) == {asked[0]: 200} | dict.fromkeys(attacks, 403)


@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        ({"X-Remote-User": "kubernetes-admin", "X-Remote-Group": "system:masters"}, 403),
        ({"X-Forwarded-User": "kubernetes-admin", "Forwarded": "for=127.0.0.1"}, 403),
        ({"Impersonate-User": "kubernetes-admin", "Impersonate-Group": "system:masters"}, 403),
        ({"Impersonate-Group": "system:masters"}, 400),
    ],
    ids=["front proxy", "forwarded", "impersonation", "a group alone"],
)
@pytest.mark.parametrize("token", [True, False], ids=["with a token", "without"])
def test_headers_make_nobody_else_of_a_pod(scene: Scene, headers: dict[str, str], answer: int, token: bool) -> None:
    assert scene.asks(Question("GET", *API, "/api/v1/secrets", headers, token)) == [answer]


def test_a_node_reads_only_what_its_own_pods_refer_to(scene: Scene) -> None:
    treasure, victim = f"{scene.here}/secrets/treasure", f"{scene.here}/pods/victim"
    assert scene.as_("node1-kubelet", treasure) == 200
    assert scene.as_("node2-kubelet", treasure) == 403
    assert scene.as_("node2-kubelet", "/api/v1/secrets") == 403
    assert scene.as_("node2-kube-proxy", treasure) == 403
    certificate, key = scene.pair("node2-kubelet")
    # Without the administrator's: kubectl would show both.
    own = ["--kubeconfig=/dev/null", f"--server=https://127.0.0.1:{scene.lab.api_port}",
           f"--certificate-authority={scene.lab.pki}/admin/ca.crt", f"--client-certificate={certificate}", f"--client-key={key}"]  # fmt: skip
    for attack in (
        ("delete", "pod", "victim", "--wait=false"),
        ("label", "node", "node1", "stolen=yes"),
        ("create", "token", "default"),
    ):
        refused = scene.kubectl.run(*own, *attack)
        assert "Forbidden" in refused.stderr or "forbidden" in refused.stderr, refused
    assert scene.as_("admin", victim) == 200


@pytest.mark.parametrize("container", ["../..", "..%2f..%2fetc", "main%00", "main%2f..%2fmain", "%2e%2e"])
def test_a_containers_name_leads_nowhere_else(scene: Scene, container: str) -> None:
    for path in (f"log?container={container}", f"exec?container={container}&command=id&stdout=true"):
        code, said = scene.get("127.0.0.1", scene.lab.api_port, f"{scene.here}/pods/victim/{path}", scene.pair("admin"))
        assert (code, "is not valid for pod victim" in said) == (400, True), said


@pytest.mark.parametrize(
    "path",
    [
        "/logs/../../etc/passwd", "/logs/..%2f..%2fetc%2fpasswd", "/logs/%2e%2e/%2e%2e/etc/passwd",
        "/logs//etc/passwd", "/logs/..", "/containerLogs/default/..%2f../main", "/metrics/../logs/../etc/passwd",
    ],
)  # fmt: skip
def test_a_kubelets_pages_lead_to_no_other_file(scene: Scene, path: str) -> None:
    kubelet = scene.address(101)
    assert scene.get(kubelet, 10250, "/logs/", scene.pair("admin"))[0] == 200
    code, said = scene.get(kubelet, 10250, path, scene.pair("admin"))
    assert (code, "root:" in said) == (404, False), said


def test_a_request_with_two_lengths_is_refused(scene: Scene) -> None:
    """Whoever passes it on might take its end for another request's beginning."""
    context = ssl.create_default_context(cafile=str(scene.lab.pki / "admin" / "ca.crt"))
    context.load_cert_chain(*scene.pair("admin"))
    connection = HTTPSConnection("127.0.0.1", scene.lab.api_port, timeout=5, context=context)
    connection.putrequest("POST", f"{scene.here}/configmaps")
    for name, value in (
        ("Content-Type", "application/json"),
        ("Content-Length", "4"),
        ("Transfer-Encoding", "chunked"),
    ):
        connection.putheader(name, value)
    connection.endheaders(b"0\r\n\r\nGET /api/v1/secrets HTTP/1.1\r\nHost: x\r\n\r\n")
    assert connection.getresponse().status == 400
    connection.close()


def test_who_may_only_look_at_a_node_runs_nothing_there(scene: Scene) -> None:
    """By a request behind one for an upgrade that the kubelet does not grant: it would come with the API server's own
    certificate."""
    kubectl, name = scene.kubectl, scene.kubectl.namespace
    kubectl("create", "serviceaccount", "looker")
    kubectl("create", "clusterrole", name, "--verb=get", "--resource=nodes/proxy")
    kubectl("create", "clusterrolebinding", name, f"--clusterrole={name}", f"--serviceaccount={name}:looker")
    token = kubectl("create", "token", "looker").strip()
    node, run = "/api/v1/nodes/node1/proxy", f"/run/{name}/victim/main?cmd=id"
    try:
        said = spoken(
            scene,
            f"GET {node}/healthz HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            f"POST {run} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        )
        assert (said.count(b"HTTP/1.1 "), said[:12], b"uid=" in said) == (1, b"HTTP/1.1 200", False), said
        refused = f"POST {node}{run} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n"
        assert spoken(scene, f"{refused}Connection: close\r\n\r\n").startswith(b"HTTP/1.1 403 ")
    finally:
        kubectl("delete", "clusterrole,clusterrolebinding", name)
    # Whoever may does it with the same words.
    assert "uid=" in kubectl("create", "--raw", f"{node}{run}", "-f", "/dev/null")


def spoken(scene: Scene, request: str) -> bytes:
    """What the API server says until nothing more comes."""
    context = ssl.create_default_context(cafile=str(scene.lab.pki / "admin" / "ca.crt"))
    connection = socket.create_connection(("127.0.0.1", scene.lab.api_port), 20)
    with context.wrap_socket(connection, server_hostname="127.0.0.1") as tls:
        tls.sendall(request.encode())
        said = b""
        while piece := tls.recv(65536):
            said += piece
    return said
