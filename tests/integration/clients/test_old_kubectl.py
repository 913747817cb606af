"""kubectl 1.28: streams over SPDY only, apply by OpenAPI version 2 in protobuf, nulls in what it sends."""

import socket
import subprocess
from collections.abc import Callable

import pytest

from .clusters import Cluster
from .tools import OLD, program

Old = Callable[..., str]
CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{k: '{value}'}}\n"


@pytest.fixture
def old(running: Cluster, namespace: str) -> Old:
    binary = program(OLD, "kubectl")

    def run(*arguments: str, stdin: str = "", code: int = 0) -> str:
        ran = running.run(binary, "-n", namespace, *arguments, stdin=stdin)
        assert ran.returncode == code, f"kubectl {' '.join(arguments)}\n{ran.stdout}{ran.stderr}"
        return ran.stdout + (ran.stderr if code else "")

    return run


def test_apply_diff_and_explain(old: Old) -> None:
    assert "created" in old("apply", "-f", "-", stdin=CONFIG_MAP.format(value="1"))
    assert '+  k: "2"' in old("diff", "-f", "-", stdin=CONFIG_MAP.format(value="2"), code=1)
    assert "configured" in old("apply", "-f", "-", stdin=CONFIG_MAP.format(value="2"))
    old("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=CONFIG_MAP.format(value="3"))
    assert old("get", "cm", "a", "-o", "jsonpath={.data.k}") == "3"
    assert "FIELD: spec <PodSpec>" in old("explain", "pod.spec")
    assert "deployments" in old("api-resources")


def test_deployments_and_their_scale(old: Old) -> None:
    old("create", "deployment", "d", "--image=busybox")
    old("scale", "deployment/d", "--replicas=2")
    old("rollout", "status", "deployment/d", "--timeout=30s")
    assert old("create", "token", "default").count(".") == 2
    assert "d-" in old("get", "all")
    old("delete", "deployment", "d")


def test_streams_over_spdy(old: Old, running: Cluster, namespace: str, pod: str, echo_port: int) -> None:
    assert old("exec", pod, "--", "echo", "hi") == "hi\n"
    assert old("exec", "-i", pod, "--", "cat", stdin="there and back") == "there and back"
    assert "exit code 3" in old("exec", pod, "--", "sh", "-c", "exit 3", code=3)
    assert old("logs", pod) == "hello\n"
    forward = subprocess.Popen(
        [program(OLD, "kubectl"), "-n", namespace, "port-forward", f"pod/{pod}", f":{echo_port}"],
        env=running.environment(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert forward.stdout is not None
        local = int(forward.stdout.readline().split(" -> ")[0].rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", local), timeout=10) as connection:
            connection.sendall(b"one\n")
            assert connection.recv(100) == b"echo one\n"
    finally:
        forward.terminate()
        forward.communicate()
