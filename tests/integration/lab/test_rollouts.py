"""Row 11 of the walk: a rolling update that nobody notices."""

import pytest


@pytest.fixture
def deployed(kubectl, manifests, running):
    kubectl("apply", "-f", f"{manifests}/svc.yaml", "-f", f"{manifests}/deploy.yaml")
    return running(3)


def second_version(manifests):
    return (manifests / "deploy.yaml").read_text().replace("hewon16/image1:1", "hewon16/image1:2")


def images(pods):
    return {pod["spec"]["containers"][0]["image"] for pod in pods}


def test_requests_never_fail_during_an_update(deployed, kubectl, manifests, node):
    address = kubectl("get", "service", "test-svc", "-o", "jsonpath={.spec.clusterIP}")
    three = lambda slices: sum(len(s.get("endpoints") or []) for s in slices.values()) == 3  # noqa: E731
    kubectl.until(three, "endpointslices", "-l", "kubernetes.io/service-name=test-svc")
    with node("node1").asking(f"http://{address}/") as load:
        assert kubectl("apply", "-f", "-", stdin=second_version(manifests)) == "deployment.apps/test1 configured\n"
        told = kubectl("rollout", "status", "deployment/test1", "--timeout=90s")
        assert told.endswith('deployment "test1" successfully rolled out\n')
    assert load.faults == "[]"
    assert load.answers > 50


def test_an_update_keeps_to_max_surge_and_max_unavailable(deployed, kubectl, manifests, running):
    kubectl("apply", "-f", "-", stdin=second_version(manifests))
    seen = []
    for event in kubectl.watch("deployment", "test1", seconds=90):
        deployment, status = event["object"], event["object"]["status"]
        if status.get("observedGeneration") != deployment["metadata"]["generation"]:
            continue  # what it says is still of before the update
        seen.append((status.get("replicas", 0), status.get("availableReplicas", 0)))
        if status.get("updatedReplicas") == 3 and status.get("replicas") == 3 and status.get("availableReplicas") == 3:
            break
    assert max(total for total, _ in seen) == 4
    assert min(available for _, available in seen) >= 3
    assert images(running(3)) == {"hewon16/image1:2"}


def test_history_tells_the_revisions_and_undo_goes_back(deployed, kubectl, manifests, running):
    kubectl("annotate", "deployment/test1", "kubernetes.io/change-cause=first")
    kubectl("apply", "-f", "-", stdin=second_version(manifests))
    kubectl("annotate", "deployment/test1", "kubernetes.io/change-cause=second", "--overwrite")
    kubectl("rollout", "status", "deployment/test1", "--timeout=90s")
    lines = [line.split() for line in kubectl("rollout", "history", "deployment/test1").splitlines()]
    assert [line for line in lines if line and line[0].isdigit()] == [["1", "first"], ["2", "second"]]
    assert kubectl("rollout", "undo", "deployment/test1") == "deployment.apps/test1 rolled back\n"
    kubectl("rollout", "status", "deployment/test1", "--timeout=90s")
    assert images(running(3)) == {"hewon16/image1:1"}
    lines = [line.split() for line in kubectl("rollout", "history", "deployment/test1").splitlines()]
    assert [line[0] for line in lines if line and line[0].isdigit()] == ["2", "3"]
