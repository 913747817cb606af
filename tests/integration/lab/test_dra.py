"""examples/dra-driver: from drivers on every node to containers that see their devices, in a whole lab."""

import json
from collections import Counter

import pytest

from wherry.composing import Compose
from wherry.images import TAG
from wherry.kubectl import Kubectl
from wherry.labs import PROJECT

EXAMPLE = PROJECT / "examples" / "dra-driver"
LAMPS = 4  # of a node


@pytest.fixture(scope="module", autouse=True)
def driver(lab):
    own = Kubectl(lab)
    manifests = own("kustomize", str(EXAMPLE)).replace("wherry/component:dev", f"wherry/component:{TAG}")
    own("apply", "-f", "-", stdin=manifests)
    own("rollout", "status", "-n", "lamps", "daemonset/driver", "--timeout=60s")
    nodes = Compose(lab).nodes()
    own.until(lambda slices: len(slices) == nodes, "resourceslices", "--field-selector=spec.driver=lamps.example.com")
    yield
    own("delete", "-f", "-", stdin=manifests)
    own("wait", "resourceslices", "--field-selector=spec.driver=lamps.example.com", "--for=delete", "--timeout=60s")


def many(replicas):
    container = {
        "name": "main", "image": "busybox:1.35", "resources": {"claims": [{"name": "lamp"}]},
        "command": ["sh", "-c", "cat /lamps/*; sleep 1000000"],
    }  # fmt: skip
    spec = {
        "containers": [container], "terminationGracePeriodSeconds": 0,
        "resourceClaims": [{"name": "lamp", "resourceClaimTemplateName": "any-lamp"}],
    }  # fmt: skip
    labels = {"app": "many"}
    template = {"metadata": {"labels": labels}, "spec": spec}
    return json.dumps(
        {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "many"},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
        }
    )  # fmt: skip


def run_at_once(pods):
    return [name for name, pod in pods.items() if pod["status"].get("phase") == "Running"]


def test_no_lamp_is_given_twice_and_one_that_is_free_goes_to_the_next(kubectl, lab):
    kubectl("apply", "-f", str(EXAMPLE / "pods.yaml"))
    kubectl("wait", "pod", "desk", "stage", "--for=condition=Ready", "--timeout=60s")
    assert kubectl("logs", "desk").startswith("LAMP_")
    assert kubectl("logs", "stage", "-c", "right").count("of stage-lamps-") == 2
    left = LAMPS * Compose(lab).nodes() - 4
    kubectl("apply", "-f", "-", stdin=many(left + 2))
    kubectl.until(lambda pods: len(run_at_once(pods)) == left, "pods", "--selector=app=many")
    kubectl("delete", "pod", "desk", "stage")
    pods = kubectl.until(lambda pods: len(run_at_once(pods)) == left + 2, "pods", "--selector=app=many")
    seen = Counter(kubectl("logs", name).partition(", ")[0] for name in pods)
    assert max(seen.values()) == 1, seen
    kubectl("delete", "deployment", "many")
    kubectl("wait", "resourceclaims", "--all", "--for=delete", "--timeout=60s")


def test_a_pod_says_why_it_waits(kubectl, lab):
    kubectl("apply", "-f", str(EXAMPLE / "pods.yaml"))
    kubectl("apply", "-f", "-", stdin=many(LAMPS * Compose(lab).nodes()))
    nodes = Compose(lab).nodes()
    why = f"0/{nodes} nodes are available: {nodes} cannot allocate all claims."
    kubectl.until(lambda pods: any(why in json.dumps(pod["status"]) for pod in pods.values()), "pods")
    kubectl("delete", "deployment", "--all", "--cascade=foreground", "--timeout=60s")
    kubectl("delete", "pod", "--all", "--timeout=60s")  # while the driver is there, which has to undo what it did
