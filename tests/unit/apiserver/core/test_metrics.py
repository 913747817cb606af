"""Requests are counted under upstream's names while they run and when they have ended."""

from api import kinds
from api.types import Pod
from apiserver.metrics import Metrics
from apiserver.requests import Request, User
from proto import resources_pb2 as pb

PODS = kinds.of(Pod)


def value(metrics: Metrics, start: str, **labels: str) -> float:
    wanted = [f'{name}="{text}"' for name, text in labels.items()]
    lines = metrics.exposition.render()[1].decode().splitlines()
    found = [x for x in lines if x.startswith(start) and all(w in x for w in wanted)]
    return sum(float(line.rpartition(" ")[2]) for line in found)


def test_a_request_is_in_flight_until_it_has_ended():
    metrics = Metrics()
    call = metrics.call()
    call.is_about(Request(User("x"), "create", PODS, "ns", "n", dry_run=True))
    assert value(metrics, "apiserver_current_inflight_requests", request_kind="mutating") == 1
    call.ended(201, 1500)
    assert value(metrics, "apiserver_current_inflight_requests") == 0
    labels = {"verb": "POST", "resource": "pods", "scope": "resource", "dry_run": "All", "code": "201"}
    assert value(metrics, "apiserver_request_total", **labels) == 1
    assert value(metrics, "apiserver_request_duration_seconds_count", verb="POST") == 1
    assert value(metrics, "apiserver_response_sizes_bucket", le="10000") == 1
    assert value(metrics, "apiserver_response_sizes_bucket", le="1000") == 0


def test_a_watch_runs_long_and_is_not_in_flight():
    metrics = Metrics()
    call = metrics.call()
    call.is_about(Request(User("x"), "watch", PODS))
    assert value(metrics, "apiserver_longrunning_requests", verb="WATCH", scope="cluster") == 1
    assert value(metrics, "apiserver_current_inflight_requests") == 0
    call.ended(200)
    assert value(metrics, "apiserver_longrunning_requests") == 0


def test_what_came_by_grpc_counts_the_same():
    metrics = Metrics()
    call = metrics.call()
    call.concerns("list", pb.Resource(group="apps", version="v1", plural="deployments", namespace="ns"))
    call.ended(200)
    assert value(metrics, "apiserver_request_total", verb="LIST", group="apps", scope="namespace") == 1


def test_what_never_became_a_request_of_the_api_is_not_counted():
    metrics = Metrics()
    metrics.call().ended(404)
    assert value(metrics, "apiserver_request_total") == 0
