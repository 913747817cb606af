"""Probes from a node into its pods."""

import json

import pytest

POD = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: "wherry/component:dev"
    imagePullPolicy: Never
    command: [python3, -c, {program}]
    readinessProbe: {{periodSeconds: 1, grpc: {{port: 5000, service: {name}}}}}
"""
PROGRAM = """
import signal, grpc
from concurrent.futures import ThreadPoolExecutor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
servicer, server = health.HealthServicer(), grpc.server(ThreadPoolExecutor(2))
health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
servicer.set("good", health_pb2.HealthCheckResponse.SERVING)
servicer.set("bad", health_pb2.HealthCheckResponse.NOT_SERVING)
server.add_insecure_port("0.0.0.0:5000")
server.start()
signal.sigwait([signal.SIGTERM])
"""
REFUSED = 'Readiness probe failed: service unhealthy (responded with "NOT_SERVING")'


@pytest.fixture
def serving(kubectl):
    def make(name):
        kubectl("apply", "-f", "-", stdin=POD.format(name=name, program=json.dumps(PROGRAM)))

    return make


def test_a_grpc_probe_asks_the_service_that_it_names(kubectl, serving):
    serving("good")
    serving("bad")
    kubectl("wait", "--for=condition=Ready", "pod/good", "--timeout=60s")
    kubectl.until(lambda events: any(e["message"] == REFUSED for e in events.values()), "events")
    kubectl("wait", "--for=condition=Ready=false", "pod/bad", "--timeout=30s")
