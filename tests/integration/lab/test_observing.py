"""What a node tells those who may watch it, as kubectl and Prometheus ask for it."""

import json

POD = """
apiVersion: v1
kind: Pod
metadata: {name: talker}
spec:
  nodeName: node1
  restartPolicy: Always
  containers:
  - name: main
    image: busybox:1.35
    imagePullPolicy: Never
    command: [sh, -c, "echo out; echo err >&2; test -e /kept/x || { touch /kept/x; exit 1; }; echo again; exec sleep 1d"]
    volumeMounts: [{name: kept, mountPath: /kept}]
  volumes: [{name: kept, emptyDir: {}}]
"""
ASK = """
import ssl, sys, urllib.error, urllib.request
context = ssl._create_unverified_context()
if len(sys.argv) > 2 and sys.argv[2] == "as-node":
    context.load_cert_chain("/etc/wherry/pki/tls.crt", "/etc/wherry/pki/tls.key")
headers = {"Authorization": "Bearer " + sys.argv[3]} if len(sys.argv) > 3 else {}
try:
    print(urllib.request.urlopen(urllib.request.Request(sys.argv[1], headers=headers), context=context).status)
except urllib.error.HTTPError as e:
    print(e.code, e.read().decode().strip())
"""


def test_a_node_is_read_through_the_api_server(kubectl):
    kubectl("apply", "-f", "-", stdin=POD.replace("exit 1", "true"))
    kubectl("wait", "pod/talker", "--for=condition=Ready", "--timeout=60s")
    for node in ("node1", "node1:10250"):
        root = f"/api/v1/nodes/{node}/proxy"
        assert kubectl("get", "--raw", f"{root}/healthz").strip() == "ok"
        summary = json.loads(kubectl("get", "--raw", f"{root}/stats/summary"))
        assert summary["node"]["nodeName"] == "node1"
        [pod] = [p for p in summary["pods"] if p["podRef"]["namespace"] == kubectl.namespace]
        assert pod["containers"][0]["memory"]["workingSetBytes"] > 0
        assert [i["name"] for i in pod["network"]["interfaces"]] == ["eth0"]
        assert json.loads(kubectl("get", "--raw", f"{root}/configz"))["kubeletconfig"]["port"] == 10250
        names = [p["metadata"]["name"] for p in json.loads(kubectl("get", "--raw", f"{root}/pods"))["items"]]
        assert "talker" in names
        assert 'kubelet_node_name{node="node1"} 1' in kubectl("get", "--raw", f"{root}/metrics")
        assert f'namespace="{kubectl.namespace}",pod="talker"' in kubectl("get", "--raw", f"{root}/metrics/resource")
        assert 'interface="eth0"' in kubectl("get", "--raw", f"{root}/metrics/cadvisor")


def test_logs_are_cut_as_kubectl_asks_for_it(kubectl):
    kubectl("apply", "-f", "-", stdin=POD)
    kubectl("wait", "pod/talker", "--for=jsonpath={.status.containerStatuses[0].restartCount}=1", "--timeout=60s")
    kubectl("wait", "pod/talker", "--for=condition=Ready", "--timeout=60s")
    logs = lambda *flags: kubectl("logs", "talker", *flags)  # noqa: E731
    lines = logs().splitlines(keepends=True)
    assert sorted(lines) == ["again\n", "err\n", "out\n"]
    last = lines[-1]  # the engine reads the two streams one beside the other
    assert sorted(logs("--previous").splitlines()) == ["err", "out"]
    assert logs("--tail=1") == last
    assert len(logs("--limit-bytes=3")) == 3
    assert logs("--since=1h", "--tail=1") == last
    assert logs("--since-time=2100-01-01T00:00:00Z") == ""
    stamp, _, word = logs("--timestamps", "--tail=1").partition(" ")
    assert (stamp[:2], stamp[-1], word) == ("20", "Z", last)
    assert logs("--insecure-skip-tls-verify-backend", "--tail=1") == last
    stderr = f"/api/v1/namespaces/{kubectl.namespace}/pods/talker/log?stream=Stderr"
    assert kubectl("get", "--raw", stderr) == "err\n"


def test_the_port_refuses_whoever_may_not(kubectl, node):
    here = node("node1")
    ask = lambda *words: here.run("python3", "-c", ASK, *words).strip()  # noqa: E731
    url = "https://127.0.0.1:10250/metrics"
    assert ask(url) == "401 Unauthorized"
    assert ask(url, "as-node") == (
        "403 Forbidden (user=system:node:node1, verb=get, resource=nodes, subresource(s)=[metrics])"
    )
    kubectl("create", "serviceaccount", "scraper")
    token = kubectl("create", "token", "scraper").strip()
    assert ask(url, "", token).startswith(f"403 Forbidden (user=system:serviceaccount:{kubectl.namespace}:scraper,")
    name = f"scraper-{kubectl.namespace}"
    kubectl("create", "clusterrole", name, "--verb=get", "--resource=nodes/metrics,nodes/stats")
    try:
        kubectl(
            "create",
            "clusterrolebinding",
            name,
            f"--clusterrole={name}",
            f"--serviceaccount={kubectl.namespace}:scraper",
        )
        assert ask("https://127.0.0.1:10250/stats/summary", "", token) == "200"
        assert ask("https://127.0.0.1:10250/pods", "", token).startswith("403")
    finally:
        kubectl("delete", "clusterrolebinding,clusterrole", name, "--ignore-not-found")


def test_a_kubelet_tells_its_own_port_and_no_other_nodes(kubectl):
    port = "jsonpath={.metadata.annotations.kubelet\\.wherry\\.io/grpc-port}"
    assert kubectl("get", "node", "node1", "-o", port) == "10251"
    refused = kubectl.run(
        "annotate", "node", "node2", "kubelet.wherry.io/grpc-port=1", "--overwrite",
        "--as=system:node:node1", "--as-group=system:nodes",
    )  # fmt: skip
    assert "Forbidden" in refused.stderr
    assert kubectl("get", "node", "node2", "-o", port) == "10251"
