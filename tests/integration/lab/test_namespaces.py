"""Row 15 of the walk: a namespace goes with all that is in it."""

from uuid import uuid4

import pytest

from wherry.kubectl import Kubectl

CONTENTS = """
{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}
---
{{apiVersion: v1, kind: ConfigMap, metadata: {{name: settings, namespace: {name}}}, data: {{a: b}}}}
---
{{apiVersion: v1, kind: Secret, metadata: {{name: hidden, namespace: {name}}}, stringData: {{c: d}}}}
"""


@pytest.fixture
def twins(lab, everywhere):
    names = [f"twin-{uuid4().hex[:6]}" for _ in range(2)]
    for name in names:
        everywhere("apply", "-f", "-", stdin=CONTENTS.format(name=name))
        Kubectl(lab, name)("wait", "--for=create", "serviceaccount/default", "--timeout=30s")
    yield [Kubectl(lab, name) for name in names]
    everywhere("delete", "namespace", *names, "--ignore-not-found", "--wait=false")


def test_a_namespace_goes_with_everything_in_it_and_its_twin_stays(twins, everywhere, manifests, containers):
    gone, stays = twins
    for kubectl in twins:
        kubectl("apply", "-f", f"{manifests}/svc.yaml", "-f", f"{manifests}/deploy.yaml")
    for kubectl in twins:
        kubectl("rollout", "status", "deployment/test1", "--timeout=60s")
    everywhere("delete", "namespace", gone.namespace, "--timeout=90s")
    assert "NotFound" in everywhere.run("get", "namespace", gone.namespace).stderr
    assert containers(io__kubernetes__pod__namespace=gone.namespace) == []
    for kind in ("pods", "services", "deployments", "configmaps", "secrets", "events"):
        assert gone.json("get", kind)["items"] == []
    assert stays.json("get", "deployment", "test1")["status"]["readyReplicas"] == 3
    assert stays("get", "secret", "hidden", "-o", "jsonpath={.data.c}") == "ZA=="


def test_nothing_new_gets_into_a_namespace_that_is_going(twins):
    kubectl = twins[0]
    held = '{"metadata": {"finalizers": ["wherry.test/held"]}}'
    kubectl("patch", "configmap", "settings", "--type=merge", "-p", held)
    kubectl("delete", "namespace", kubectl.namespace, "--wait=false")
    kubectl("wait", f"namespace/{kubectl.namespace}", "--for=jsonpath={.status.phase}=Terminating", "--timeout=30s")
    late = "{apiVersion: v1, kind: ConfigMap, metadata: {name: late}}"
    ran = kubectl.run("apply", "-f", "-", stdin=late)
    assert ran.returncode == 1
    assert "because it is being terminated" in ran.stderr
    kubectl("patch", "configmap", "settings", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    kubectl("wait", f"namespace/{kubectl.namespace}", "--for=delete", "--timeout=60s")
