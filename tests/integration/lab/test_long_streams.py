"""What a client leaves open while nothing happens must still be open when something does."""

import http.client
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

SECONDS = 100
"""Beyond every limit of time that a connection has here."""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: quiet}
spec:
  containers:
  - {name: web, image: "hewon16/image1:1"}
  - {name: reader, image: "busybox:1.35", stdin: true, command: [sh, -c, "read line; echo got $line; sleep infinity"]}
"""
SPDY = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false", "KUBECTL_PORT_FORWARD_WEBSOCKETS": "false"}


def asked_twice(kubectl, over):
    """A forwarded connection that is used, left alone, and used again."""
    command = kubectl.command("port-forward", "pod/quiet", ":8080")
    with subprocess.Popen(
        command, env=kubectl.environment() | over, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as forward:
        try:
            assert forward.stdout is not None
            port = int(forward.stdout.readline().split(" -> ")[0].rpartition(":")[2])
            answers = []
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
                for pause in (0, SECONDS):
                    time.sleep(pause)
                    connection.request("GET", "/")
                    answers.append(connection.getresponse().read())
            return answers
        finally:
            forward.terminate()


@pytest.mark.long
def test_streams_outlast_every_silence(kubectl):
    kubectl("apply", "-f", "-", stdin=POD)
    kubectl("wait", "--for=condition=Ready", "pod/quiet", "--timeout=30s")

    def late(*arguments, over=None, stdin=""):
        environment = kubectl.environment() | (over or {})
        line = f'(sleep {SECONDS}; echo {stdin}) | exec "$@"' if stdin else 'exec "$@"'
        command = ["sh", "-c", line, "sh", *kubectl.command(*arguments)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=2 * SECONDS).stdout

    web, sleeping = ("quiet", "-c", "web"), ("--", "sh", "-c", f"sleep {SECONDS}; echo woken")
    with ThreadPoolExecutor(16) as threads:
        does = threads.submit
        execs = [does(late, "exec", *web, *sleeping, over=over) for over in ({}, SPDY)]
        execs += [does(late, "exec", "-i", *web, "--", "cat", stdin="woken", over=over) for over in ({}, SPDY)]
        attached = does(late, "attach", "-i", "quiet", "-c", "reader", stdin="hello")
        forwards = [does(asked_twice, kubectl, over) for over in ({}, SPDY)]
        logs = does(late, "logs", "-f", "quiet", "-c", "reader")
        done = "--for=jsonpath={.metadata.labels.done}=yes"
        watched = does(late, "wait", "pod/quiet", done, f"--timeout={2 * SECONDS}s")
        assert [each.result() for each in execs] == ["woken\n"] * 4
        assert attached.result() == "got hello\n"
        assert [each.result() for each in forwards] == [[b"test name: quiet\n"] * 2] * 2
        kubectl("label", "pod", "quiet", "done=yes")
        assert "condition met" in watched.result()
        kubectl("delete", "pod", "quiet", "--now")
        assert logs.result() == "got hello\n"
