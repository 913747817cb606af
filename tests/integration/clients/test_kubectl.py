"""What kubectl can do beyond the everyday: its rarer verbs, and what it says where it cannot."""

import base64
import io
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from wherry.kubectl import binary

from .clusters import Cluster

Run = Callable[..., str]
CONFIG_MAP = (
    "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, labels: {{app: a}}}}, data: {{k: '{value}'}}}}"
)


@pytest.fixture
def k(running: Cluster, namespace: str) -> Run:
    return lambda *arguments, **rest: running.kubectl("-n", namespace, *arguments, **rest)


@pytest.fixture
def refused(running: Cluster, namespace: str) -> Run:
    return lambda *arguments, **rest: running.refused("-n", namespace, *arguments, **rest)


@pytest.fixture
def web(k: Run) -> str:
    """A deployment that has been rolled out."""
    k("create", "deployment", "web", "--image=nginx:1", "--replicas=2", "--port=80")
    k("rollout", "status", "deployment/web", "--timeout=30s")
    return "web"


def test_the_api_explains_itself(k: Run) -> None:
    assert "deploy " in k("api-resources", "--api-group=apps")
    assert "create,delete,deletecollection,get,list,patch,update,watch" in k("api-resources", "-o", "wide")
    assert "autoscaling/v2\n" in k("api-versions")
    tree = k("explain", "deployment", "--recursive")
    assert re.search(r"^ {8}maxSurge\t<IntOrString>$", tree, re.MULTILINE)
    assert "FIELD: image <string>" in k("explain", "pod.spec.containers.image")
    assert "targetCPUUtilizationPercentage" in k("explain", "hpa.spec", "--api-version=autoscaling/v1")
    assert json.loads(k("version", "-o", "json"))["serverVersion"]["minor"] == "37"
    assert "is running at" in k("cluster-info")
    assert "readyz check passed" in k("get", "--raw", "/readyz?verbose")


def test_every_way_to_print(k: Run, web: str) -> None:
    listed = yaml.safe_load(k("get", "all", "-o", "yaml"))
    assert {item["kind"] for item in listed["items"]} == {"Deployment", "ReplicaSet", "Pod"}
    assert json.loads(k("get", "all", "-A", "-o", "json"))["kind"] == "List"
    assert "NOMINATED NODE" in k("get", "pods", "-o", "wide")
    assert k("get", "deployments", "-o", "name") == "deployment.apps/web\n"
    assert k("get", "deploy", "-o", "custom-columns=N:.metadata.name,R:.spec.replicas").split() == [
        "N",
        "R",
        "web",
        "2",
    ]
    assert k("get", "deploy", "-o", "jsonpath={.items[*].metadata.name}") == "web"
    assert k("get", "deploy", "-o", "go-template={{range .items}}{{.kind}}{{end}}") == "Deployment"
    assert k("get", "pods", "--sort-by=.metadata.name", "--no-headers", "--chunk-size=1").count("Running") == 2
    assert "app=web" in k("get", "pods", "--show-labels")
    assert (
        k("get", "pods", "-l", "app in (web)", "--field-selector=status.phase=Running", "-o", "name").count("pod/") == 2
    )


def test_diff_apply_and_prune(k: Run, refused: Run) -> None:
    k("apply", "-f", "-", stdin=CONFIG_MAP.format(name="a", value="one"))
    changed = CONFIG_MAP.format(name="a", value="two")
    assert "exit status 1" in (told := refused("diff", "-f", "-", stdin=changed)) or not told
    assert "configured" in k("apply", "-f", "-", stdin=changed)
    other = CONFIG_MAP.format(name="b", value="one")
    pruned = k("apply", "-f", "-", "--prune", "-l", "app=a", "--prune-allowlist=core/v1/ConfigMap", stdin=other)
    assert "configmap/a pruned" in pruned
    assert "serverside-applied" in k(
        "apply", "--server-side", "--field-manager=x", "-f", "-", "--force-conflicts", stdin=other
    )
    third = CONFIG_MAP.format(name="b", value="three")
    assert 'conflict with "x"' in refused("apply", "--server-side", "-f", "-", "--field-manager=y", stdin=third)
    k("apply", "--server-side", "-f", "-", "--field-manager=y", "--force-conflicts", stdin=third)
    assert "last-applied-configuration" not in k("apply", "view-last-applied", "configmap/b")
    k("apply", "-f", "-", "--dry-run=server", stdin=CONFIG_MAP.format(name="c", value="one"))
    assert "NotFound" in refused("get", "configmap", "c")


def test_edit_replace_and_patch(k: Run, refused: Run) -> None:
    k("create", "configmap", "a", "--from-literal=k=one")
    assert "edited" in k("edit", "configmap", "a", EDITOR="sed -i 's/k: one/k: two/'")
    assert k("get", "cm", "a", "-o", "jsonpath={.data.k}") == "two"
    assert "replaced" in k("replace", "--force", "-f", "-", stdin=CONFIG_MAP.format(name="a", value="x"))
    assert "replaced" in k("replace", "-f", "-", stdin=CONFIG_MAP.format(name="a", value="y"))
    k("patch", "cm", "a", "--type=json", "-p", '[{"op": "replace", "path": "/data/k", "value": "z"}]')
    assert "no change" in k("patch", "cm", "a", "--type=merge", "-p", '{"data":{"k":"z"}}')
    told = refused("patch", "cm", "a", "--type=json", "-p", '[{"op":"remove","path":"/data/nonexistent"}]')
    assert told.startswith("The request is invalid: ")


def test_waiting_for_what_is_to_be(k: Run, refused: Run, running: Cluster, namespace: str) -> None:
    later = subprocess.Popen(
        [binary(), "-n", namespace, "wait", "--for=create", "cm/late", "--timeout=20s"], env=running.environment(),
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    k("create", "configmap", "late")
    assert later.communicate(timeout=20)[0] == "configmap/late condition met\n"
    k("run", "p", "--image=busybox", "--", "sleep", "1000")
    k("wait", "pod/p", "--for=condition=Ready", "--timeout=20s")
    k("wait", "pod/p", "--for=jsonpath={.status.podIP}", "--timeout=20s")
    k("wait", "pod/p", "--for=jsonpath={.status.phase}=Running", "--timeout=20s")
    k("delete", "pod", "p", "--now", "--wait=false")
    k("wait", "pod/p", "--for=delete", "--timeout=20s")
    assert "timed out waiting" in refused("wait", "cm/late", "--for=delete", "--timeout=1s")


def test_labels_annotations_and_taints(k: Run, refused: Run) -> None:
    k("create", "configmap", "a")
    k("label", "configmap", "a", "x=y")
    assert "--overwrite is false" in refused("label", "configmap", "a", "x=z")
    k("label", "configmap", "a", "x=z", "--overwrite")
    assert "unlabeled" in k("label", "configmap", "a", "x-")
    k("annotate", "configmap", "a", "note=some words")
    assert k("get", "cm", "a", "-o", "jsonpath={.metadata.annotations.note}") == "some words"
    k("taint", "node", "node1", "k=v:PreferNoSchedule")
    assert "already has k taint" in refused("taint", "node", "node1", "k=w:PreferNoSchedule")
    assert "untainted" in k("taint", "node", "node1", "k-")
    assert "cordoned" in k("cordon", "node1")
    assert "uncordoned" in k("uncordon", "node1")


def test_setting_parts_of_a_deployment(k: Run, web: str) -> None:
    k("set", "image", "deployment/web", "nginx=nginx:2")
    k("set", "env", "deployment/web", "A=B")
    assert "A=B" in k("set", "env", "deployment/web", "--list")
    k("set", "resources", "deployment/web", "--limits=cpu=200m,memory=512Mi", "--requests=cpu=100m")
    k("create", "serviceaccount", "runner")
    k("set", "serviceaccount", "deployment/web", "runner")
    k("expose", "deployment", "web", "--port=80")
    k("set", "selector", "service/web", "app=other")
    k("create", "role", "reader", "--verb=get", "--resource=pods,deployments.apps")
    k("create", "rolebinding", "readers", "--role=reader", "--user=jane")
    k("set", "subject", "rolebinding", "readers", "--user=joe")
    assert "rolled out" in k("rollout", "status", "deployment/web", "--timeout=30s")
    spec = json.loads(k("get", "deployment", "web", "-o", "json"))["spec"]["template"]["spec"]
    assert (spec["containers"][0]["image"], spec["serviceAccountName"]) == ("nginx:2", "runner")


def test_rollouts_forth_and_back(k: Run, refused: Run, web: str) -> None:
    k("set", "image", "deployment/web", "nginx=nginx:2")
    k("rollout", "status", "deployment/web", "--timeout=30s")
    assert "Image:\tnginx:2" in k("rollout", "history", "deployment/web", "--revision=2")
    assert "rolled back" in k("rollout", "undo", "deployment/web")
    assert k("get", "deployment", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image}") == "nginx:1"
    assert "unable to find specified revision 9" in refused("rollout", "undo", "deployment/web", "--to-revision=9")
    k("rollout", "status", "deployment/web", "--timeout=30s")
    assert "skipped rollback (current template" in k("rollout", "undo", "deployment/web", "--to-revision=3")
    k("rollout", "pause", "deployment/web")
    assert "is already paused" in refused("rollout", "pause", "deployment/web")
    k("rollout", "resume", "deployment/web")
    k("rollout", "restart", "deployment/web")
    k("rollout", "status", "deployment/web", "--timeout=30s")
    k("scale", "deployment/web", "--replicas=3", "--current-replicas=2")
    assert "Expected replicas to be 7, was 3" in refused(
        "scale", "deployment/web", "--replicas=1", "--current-replicas=7"
    )
    k("autoscale", "deployment", "web", "--min=1", "--max=5", "--cpu=50%")
    assert "cpu: <unknown>/50%" in k("get", "hpa")


def test_creating_by_name(k: Run, running: Cluster) -> None:
    for what in (
        "quota q --hard=pods=100", "pdb p --selector=app=web --min-available=1", "ingress i --rule=a.com/x*=web:80,tls=s",
        "cronjob c --image=busybox --schedule=*/5 * * * * -- true", "job one --from=cronjob/c", "serviceaccount sa",
        "secret generic s --from-literal=a=b", "secret docker-registry r --docker-username=a --docker-password=b",
        "service nodeport n --tcp=80:8080", "service externalname e --external-name=x.com", "service loadbalancer l --tcp=80",
        "service clusterip h --clusterip=None", "token default --duration=10m",
    ):  # fmt: skip
        words = re.findall(r"--schedule=.*?(?= --)|\S+", what)
        assert k("create", *words)
    assert "100" in k("describe", "quota", "q")
    assert "*/5 * * * *" in k("get", "cronjob", "c")
    k("wait", "job/one", "--for=condition=Complete", "--timeout=20s")


def test_a_certificate_for_jane(k: Run, running: Cluster, namespace: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "jane")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    encoded = base64.b64encode(request.public_bytes(serialization.Encoding.PEM)).decode()
    body = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": namespace},
        "spec": {"request": encoded, "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]},
    }
    k("apply", "-f", "-", stdin=json.dumps(body))
    assert "Pending" in k("get", "csr", namespace)
    assert "approved" in k("certificate", "approve", namespace)
    assert "Approved" in k("get", "csr", namespace)
    assert "Common Name:    jane" in k("describe", "csr", namespace)
    k("delete", "csr", namespace)


def test_who_one_is_and_what_one_may(k: Run, refused: Run, namespace: str) -> None:
    assert "kubernetes-admin" in k("auth", "whoami")
    assert k("auth", "can-i", "create", "pods") == "yes\n"
    assert "*.*" in k("auth", "can-i", "--list")
    role = f"{{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {{name: r, namespace: {namespace}}}, rules: [{{apiGroups: [''], resources: [pods], verbs: [list]}}]}}"
    assert "reconciled" in k("auth", "reconcile", "-f", "-", stdin=role)
    k("create", "rolebinding", "r", "--role=r", "--serviceaccount", f"{namespace}:default")
    assert k("auth", "can-i", "list", "pods", "--as", f"system:serviceaccount:{namespace}:default") == "yes\n"
    refused("auth", "can-i", "list", "secrets", "--as", f"system:serviceaccount:{namespace}:default")
    assert "cannot list resource" in refused("get", "secrets", "--as", f"system:serviceaccount:{namespace}:default")


def test_debugging(k: Run, pod: str) -> None:
    k("debug", pod, "--image=busybox", "--target=main", "-c", "look", "--attach=false", "--", "sleep", "1000")
    assert "look" in k("get", "pod", pod, "-o", "jsonpath={.spec.ephemeralContainers[*].name}")
    k("debug", pod, "--copy-to=copy", "--image=busybox", "--share-processes", "--attach=false")
    assert k("get", "pod", "copy", "-o", "jsonpath={.spec.shareProcessNamespace}") == "true"
    assert "Creating debugging pod" in k("debug", "node/node1", "--image=busybox", "--attach=false")
    assert "Ephemeral Containers:" in k("describe", "pod", pod)
    assert "Started" in k("events", "--for", f"pod/{pod}")


def test_streams(k: Run, running: Cluster, namespace: str, pod: str) -> None:
    assert k("logs", pod, "--all-containers", "--prefix").endswith(" hello\n")
    assert k("exec", pod, "--", "echo", "hi") == "hi\n"
    assert k("exec", "-i", pod, "--", "cat", stdin="there and back") == "there and back"
    ran = running.run(binary(), "-n", namespace, "exec", pod, "--", "sh", "-c", "exit 3")
    assert (ran.returncode, ran.stderr) == (3, "command terminated with exit code 3\n")


CONTROLLER = """
{apiVersion: v1, kind: ReplicationController, metadata: {name: primary}, spec: {replicas: 2, template: {
  metadata: {labels: {app: agnhost}}, spec: {containers: [{name: c, image: "agnhost:1", ports: [{containerPort: 6379}]}]}}}}
"""


def test_what_upstreams_suite_does_with_a_replication_controller(k: Run) -> None:
    k("create", "-f", "-", stdin=CONTROLLER)
    for replicas in (2, 1, 2):
        k("scale", "rc", "primary", f"--replicas={replicas}", "--timeout=5m")
        k("wait", "rc/primary", f"--for=jsonpath={{.status.readyReplicas}}={replicas}", "--timeout=30s")
    k("wait", "pods", "-l", "app=agnhost", "--for=condition=Ready", "--timeout=30s")
    names = k("get", "pods", "-l", "app=agnhost", "-o", "name").split()
    told = k("describe", *names)
    assert len(re.findall(r"^Controlled By: +ReplicationController/primary$", told, re.MULTILINE)) == 2
    assert len(re.findall(r"^Labels: +app=agnhost$", told, re.MULTILINE)) == 2
    told = k("describe", "rc", "primary")
    assert "Replicas:     2 current / 2 desired" in told
    assert "Pods Status:  2 Running / 0 Waiting / 0 Succeeded / 0 Failed" in told
    k("expose", "rc", "primary", "--name=rm2", "--port=1234", "--target-port=6379")
    k("expose", "service", "rm2", "--name=rm3", "--port=2345", "--target-port=6379")
    for name, port in (("rm2", 1234), ("rm3", 2345)):
        (found,) = json.loads(k("get", "service", name, "-o", "json"))["spec"]["ports"]
        assert (found["port"], found["targetPort"]) == (port, 6379)
        k("wait", f"endpoints/{name}", "--for=jsonpath={.subsets[0].ports[0].port}=6379", "--timeout=30s")
    assert "Endpoints:" in k("describe", "service", "rm2")
    for name in names:
        k("patch", name, "-p", '{"metadata":{"annotations":{"x":"y"}}}')
        assert k("get", name, "-o", "jsonpath={.metadata.annotations.x}") == "y"
    k("delete", "rc", "primary", "--wait")
    k("wait", "pods", "-l", "app=agnhost", "--for=delete", "--timeout=30s")


def test_what_upstreams_suite_does_with_one_pod(k: Run) -> None:
    k("run", "web", "--image=httpd:1", "--restart=Never", "--labels=run=web")
    k("wait", "pod/web", "--for=condition=Ready", "--timeout=30s")
    assert k("get", "pod", "web", "-o", "jsonpath={.spec.restartPolicy}") == "Never"
    k("label", "pods", "web", "testing-label=testing-label-value")
    assert "testing-label-value" in k("get", "pod", "web", "-L", "testing-label")
    k("label", "pods", "web", "testing-label-")
    assert "testing-label-value" not in k("get", "pod", "web", "-L", "testing-label")
    image = '{"spec":{"containers":[{"name":"web","image":"busybox:1"}]}}'
    k("patch", "pod", "web", "-p", image, "--dry-run=server")
    assert k("get", "pod", "web", "-o", "jsonpath={.spec.containers[0].image}") == "httpd:1"
    changed = k("get", "pod", "web", "-o", "json").replace("httpd:1", "busybox:1")
    assert "replaced" in k("replace", "-f", "-", stdin=changed)
    assert k("get", "pod", "web", "-o", "jsonpath={.spec.containers[0].image}") == "busybox:1"


def test_what_upstreams_suite_does_with_a_proxy(running: Cluster, tmp_path: Path) -> None:
    for flag in ("--port=0", f"--unix-socket={tmp_path / 'door'}"):
        with subprocess.Popen(
            [binary(), "proxy", flag], env=running.environment(), stdout=subprocess.PIPE, text=True
        ) as proxy:
            try:
                said = (proxy.stdout or io.StringIO()).readline()
                place = ["--unix-socket", str(tmp_path / "door"), "http://localhost"]
                if flag == "--port=0":
                    place = [f"http://{said.split()[-1]}"]
                told = running.run("curl", "-sS", *place[:-1], f"{place[-1]}/api/")
                assert json.loads(told.stdout)["versions"] == ["v1"]
            finally:
                proxy.terminate()


def test_kustomizations(k: Run, tmp_path: Path) -> None:
    (tmp_path / "cm.yaml").write_text(CONFIG_MAP.format(name="a", value="one"))
    (tmp_path / "kustomization.yaml").write_text(
        "resources: [cm.yaml]\nnamePrefix: k-\nconfigMapGenerator: [{name: made, literals: [a=b]}]\n"
    )
    assert "name: k-a" in k("kustomize", str(tmp_path))
    assert "configmap/k-a created" in k("apply", "-k", str(tmp_path))
    assert "k-made-" in k("get", "-k", str(tmp_path))
    assert "deleted" in k("delete", "-k", str(tmp_path))


def test_what_cannot_be_done(refused: Run) -> None:
    assert refused("get", "nope") == 'error: the server doesn\'t have a resource type "nope"\n'
    assert refused("get", "pods", "nope") == 'Error from server (NotFound): pods "nope" not found\n'
    assert (
        refused("get", "--raw", "/nope")
        == "Error from server (NotFound): the server could not find the requested resource\n"
    )
    assert "field label not supported: spec.nope" in refused("get", "pods", "--field-selector=spec.nope=1")
    unknown = "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {nope: 1, containers: [{name: a, image: b}]}}"
    told = refused("apply", "-f", "-", stdin=unknown)
    assert 'strict decoding error: unknown field "spec.nope"' in told


def test_draining_a_node(k: Run, web: str) -> None:
    try:
        told = k("drain", "node1", "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=60s")
        assert "node/node1 drained" in told
    finally:
        k("uncordon", "node1")


def test_everything_about_the_cluster(k: Run, namespace: str, tmp_path: Path) -> None:
    k("cluster-info", "dump", "--output-directory", str(tmp_path))
    assert json.loads((tmp_path / "nodes.json").read_text())["items"][0]["metadata"]["name"] == "node1"
    assert "Kubelet Version" in k("describe", "node", "node1")
    k("create", "quota", "few", "--hard=pods=3")
    told = k("describe", "namespace", namespace)
    assert re.search(r"Name: +" + namespace, told)
    assert re.search(r"Status: +Active", told)
    assert re.search(r"pods +0 +3", told)
    assert "node1" in k("top", "nodes")
