"""Rows 1, 10, 12 and 16 of the walk: single pods, their containers' lives and ends."""

import time


def test_a_pod_runs_with_its_labels_annotations_and_name(kubectl, manifests):
    assert kubectl("apply", "-f", f"{manifests}/pod.yaml") == "pod/test5 created\n"
    kubectl("wait", "--for=condition=Ready", "pod/test5", "--timeout=30s")
    assert kubectl("get", "pod", "test5", "--show-labels").split()[-1] == "color=blue,security=zone2"
    annotations = kubectl.json("get", "pod", "test5")["metadata"]["annotations"]
    assert annotations["user"] == "you suye"
    assert annotations["kubernetes.io/change-cause"] == "test rolling update version 1:1"
    assert 'date: "2021-09-24"' in kubectl("get", "pod", "test5", "-o", "yaml")
    assert kubectl("exec", "test5", "--", "hostname") == "test5\n"


def test_applying_the_same_again_changes_nothing(kubectl, manifests):
    kubectl("apply", "-f", f"{manifests}/pod.yaml")
    version = kubectl("get", "pod", "test5", "-o", "jsonpath={.metadata.uid}")
    assert kubectl("apply", "-f", f"{manifests}/pod.yaml") == "pod/test5 unchanged\n"
    assert kubectl("get", "pod", "test5", "-o", "jsonpath={.metadata.uid}") == version


def test_exec_passes_input_output_and_exit_code(kubectl, manifests):
    kubectl("apply", "-f", f"{manifests}/pod.yaml")
    kubectl("wait", "--for=condition=Ready", "pod/test5", "--timeout=30s")
    assert kubectl("exec", "-i", "test5", "--", "cat", stdin="as it came\n") == "as it came\n"
    ran = kubectl.run("exec", "test5", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (ran.stdout, ran.returncode) == ("out\n", 7)
    assert "err\n" in ran.stderr
    assert "exit code 7" in ran.stderr


def test_a_killed_container_restarts_on_its_node(kubectl, manifests, of_pod):
    kubectl("apply", "-f", f"{manifests}/pod.yaml")
    kubectl("wait", "--for=condition=Ready", "pod/test5", "--timeout=30s")
    before = kubectl.json("get", "pod", "test5")
    [container] = [c for c in of_pod(before) if c.labels["io.kubernetes.container.name"] == "test5"]
    container.kill()
    restarted = kubectl.until(
        lambda pods: any(s["restartCount"] == 1 and s["ready"] for s in pods["test5"]["status"]["containerStatuses"]),
        "pods",
    )["test5"]
    assert restarted["spec"]["nodeName"] == before["spec"]["nodeName"]
    assert restarted["status"]["podIP"] == before["status"]["podIP"]
    assert restarted["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 137
    assert "1 (" in kubectl("get", "pod", "test5", "--no-headers")


def test_a_container_that_keeps_failing_waits_longer_each_time(kubectl):
    kubectl("run", "failing", "--image=busybox:1.35", "--", "sh", "-c", "echo going; exit 3")
    waits = []
    for event in kubectl.watch("pod", "failing", seconds=90):
        for status in event["object"].get("status", {}).get("containerStatuses", []):
            message = status["state"].get("waiting", {}).get("message", "")
            if message and message not in waits:
                waits.append(message)
        if len(waits) == 2:
            break
    assert [wait.split(" restarting")[0] for wait in waits] == ["back-off 10s", "back-off 20s"]
    assert kubectl("get", "pod", "failing", "--no-headers").split()[2] == "CrashLoopBackOff"
    assert kubectl("logs", "failing") == "going\n"
    assert kubectl("logs", "failing", "--previous") == "going\n"


def test_containers_of_a_pod_share_address_loopback_and_volume(kubectl, manifests):
    kubectl("apply", "-f", f"{manifests}/pod-two-containers.yaml")
    kubectl("wait", "--for=condition=Ready", "pod/pair", "--timeout=30s")
    assert "2/2" in kubectl("get", "pod", "pair")
    answer = kubectl("exec", "pair", "-c", "sidecar", "--", "wget", "-qO-", "http://127.0.0.1:8080/")
    assert answer == "test name: pair\n"
    addresses = [kubectl("exec", "pair", "-c", c, "--", "hostname", "-i") for c in ("web", "sidecar")]
    assert addresses[0] == addresses[1]
    kubectl("exec", "pair", "-c", "web", "--", "sh", "-c", "until cat /shared/note; do :; done")
    assert kubectl("exec", "pair", "-c", "web", "--", "cat", "/shared/note") == "from-sidecar\n"


TWICE = """
apiVersion: v1
kind: Pod
metadata: {name: clash}
spec:
  containers:
  - {name: first, image: "hewon16/image1:1"}
  - {name: second, image: "hewon16/image1:1", env: [{name: PORT, value: "8080"}]}
"""


def test_two_containers_on_one_port_show_as_a_crash(kubectl):
    kubectl("apply", "-f", "-", stdin=TWICE)

    def crashed(pods):
        statuses = {s["name"]: s for s in pods.get("clash", {}).get("status", {}).get("containerStatuses", [])}
        return any(s["restartCount"] for s in statuses.values())

    statuses = kubectl.until(crashed, "pods")["clash"]["status"]["containerStatuses"]
    [loser] = [s for s in statuses if s["restartCount"]]
    assert loser["lastState"]["terminated"]["exitCode"] == 1
    assert "cannot listen on the port" in kubectl("logs", "clash", "-c", loser["name"])


STUBBORN = """
apiVersion: v1
kind: Pod
metadata: {name: stubborn}
spec:
  terminationGracePeriodSeconds: 3
  containers:
  - name: main
    image: busybox:1.35
    command: [sh, -c, "trap 'echo asked to leave' TERM; echo up; while :; do sleep 1; done"]
"""


def test_a_pod_is_asked_then_killed_and_leaves_nothing(kubectl, of_pod, node):
    kubectl("apply", "-f", "-", stdin=STUBBORN)
    kubectl("wait", "--for=condition=Ready", "pod/stubborn", "--timeout=30s")
    pod = kubectl.json("get", "pod", "stubborn")
    where = node(pod["spec"]["nodeName"])
    assert pod["status"]["podIP"] in where.run("ip", "route")
    started = time.monotonic()
    kubectl("delete", "pod", "stubborn", "--wait=false")
    assert "asked to leave" in kubectl("logs", "stubborn", "--follow")
    kubectl("wait", "--for=delete", "pod/stubborn", "--timeout=30s")
    assert 2.5 < time.monotonic() - started < 12
    assert of_pod(pod) == []
    assert pod["status"]["podIP"] not in where.run("ip", "route")
    assert pod["metadata"]["uid"] not in where.run("find", f"{where.lab.data}/kubelet/{where.name}")


HOOKED = """
apiVersion: v1
kind: Pod
metadata: {{name: hooked}}
spec:
  containers:
  - name: main
    image: busybox:1.35
    command: [sleep, "1000"]
    lifecycle:
      postStart: {{httpGet: {{host: "{handler}", path: /began, port: 8080, httpHeaders: [{{name: X-Hook, value: began}}]}}}}
      preStop: {{httpGet: {{host: "{handler}", path: /ends, port: 8080}}}}
"""
ANSWER = r"""
while read -r line && [ ${#line} -gt 1 ]; do echo "$line" >&2; done
printf 'HTTP/1.0 200 OK\r\n\r\n'
"""
"""Says what it is asked, up to the empty line."""


def test_hooks_by_http_are_asked_of_the_pod_that_they_name(kubectl):
    kubectl("run", "handler", "--image=busybox:1.35", "--", "nc", "-ll", "-p", "8080", "-e", "sh", "-c", ANSWER)
    handler = kubectl.until(lambda pods: pods["handler"]["status"].get("podIP"), "pod", "handler")["handler"]
    kubectl("wait", "--for=condition=Ready", "pod/handler", "--timeout=30s")
    kubectl("apply", "-f", "-", stdin=HOOKED.format(handler=handler["status"]["podIP"]))
    kubectl("wait", "--for=condition=Ready", "pod/hooked", "--timeout=30s")
    assert "X-Hook: began" in kubectl("logs", "handler")
    kubectl("delete", "pod", "hooked", "--grace-period=5")
    asked = [line for line in kubectl("logs", "handler").splitlines() if line.startswith("GET ")]
    assert asked == ["GET /began HTTP/1.1", "GET /ends HTTP/1.1"]


def test_files_and_directories_are_copied_in_and_out(kubectl, tmp_path):
    (tmp_path / "tree/below").mkdir(parents=True)
    (tmp_path / "tree/below/data").write_bytes(bytes(range(256)) * 4096)
    (tmp_path / "tree/words").write_text("some words\n")
    kubectl("run", "web", "--image=busybox:1.35", "--", "sleep", "1000")
    kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=30s")
    kubectl("cp", str(tmp_path / "tree"), "web:/tmp")
    assert kubectl("exec", "web", "--", "cat", "/tmp/tree/words") == "some words\n"
    kubectl("cp", "web:/tmp/tree", str(tmp_path / "back"))
    assert (tmp_path / "back/below/data").read_bytes() == (tmp_path / "tree/below/data").read_bytes()
    assert (tmp_path / "back/words").read_text() == "some words\n"
    kubectl.run("cp", "web:/none", str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()
