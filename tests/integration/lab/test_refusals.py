"""Row 2 of the walk: what is wrong is told, whole, and not stored."""

import pytest


def test_every_fault_of_a_controller_is_told_at_once_and_nothing_is_stored(kubectl, manifests):
    ran = kubectl.run("apply", "-v=6", "-f", f"{manifests}/rc-broken.yaml")
    assert ran.returncode == 1
    assert "422 Unprocessable Entity" in ran.stderr
    assert 'The ReplicationController "test 1" is invalid' in ran.stderr
    assert 'metadata.name: Invalid value: "test 1": a lowercase RFC 1123 subdomain must consist of' in ran.stderr
    assert "spec.template.metadata.labels: Invalid value:" in ran.stderr
    assert "`selector` does not match template `labels`" in ran.stderr
    assert kubectl.json("get", "rc")["items"] == []


def test_an_unknown_field_is_refused_by_its_path(kubectl):
    pod = "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containerz: []}}"
    ran = kubectl.run("apply", "-f", "-", stdin=pod)
    assert ran.returncode == 1
    assert 'unknown field "spec.containerz"' in ran.stderr
    assert kubectl.json("get", "pods")["items"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("get", "widgets"), 'error: the server doesn\'t have a resource type "widgets"'),
        (("get", "pod", "missing"), 'Error from server (NotFound): pods "missing" not found'),
        (("label", "namespace", "default", "a b=c"), "Invalid value"),
    ],
    ids=["unknown kind", "unknown name", "label out of form"],
)
def test_a_mistake_is_told_in_kubernetes_words(kubectl, arguments, message):
    ran = kubectl.run(*arguments)
    assert ran.returncode == 1
    assert message in ran.stderr
