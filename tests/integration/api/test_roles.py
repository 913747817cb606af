"""Who may do what: roles, reviews, escalation, kubelets; and kubectl's questions about it."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from machinery.testing import ControlPlane, control_plane

from .people import Person, person

pytestmark = pytest.mark.asyncio(loop_scope="module")

HERE = "/api/v1/namespaces/default"
GROUP = "/apis/rbac.authorization.k8s.io/v1"
REVIEWS = "/apis/authorization.k8s.io/v1"
KUBELET = {"Impersonate_User": "system:node:n1", "Impersonate_Group": "system:nodes"}
CLOSED = "no relationship found between node 'n1' and this object"


class Scene(NamedTuple):
    plane: ControlPlane
    admin: Person
    place: Path

    async def kubectl(self, *arguments: str, stdin: str = "") -> tuple[int, str]:
        path = self.place / "admin.kubeconfig"
        if not path.exists():
            self.plane.kubeconfig(path)
        child = await asyncio.create_subprocess_exec(
            shutil.which("kubectl") or "kubectl", f"--kubeconfig={path}", *arguments,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        out, _ = await child.communicate(stdin.encode())
        return child.returncode or 0, out.decode()

    async def grant(self, name: str, user: str, *rules: dict[str, Any], namespace: str = "") -> None:
        where, sort = (f"{GROUP}/namespaces/{namespace}", "Role") if namespace else (GROUP, "ClusterRole")
        made = await self.admin("POST", f"{where}/{sort.lower()}s", {"metadata": {"name": name}, "rules": [*rules]})
        assert made.code == 201, made.body
        binding = {
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": sort, "name": name},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}],
        }
        assert (await self.admin("POST", f"{where}/{sort.lower()}bindings", binding)).code == 201


def rule(verbs: str, resources: str, group: str = "", *names: str) -> dict[str, Any]:
    found = {"verbs": verbs.split(), "apiGroups": [group], "resources": resources.split()}
    return found | ({"resourceNames": [*names]} if names else {})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    place = tmp_path_factory.mktemp("roles")
    async with control_plane(place) as plane, person(plane, "admin") as admin:
        yield Scene(plane, admin, place)


async def test_every_default_role_of_upstream_is_there(scene: Scene) -> None:
    roles = (await scene.admin("GET", f"{GROUP}/clusterroles")).body["items"]
    names = {role["metadata"]["name"] for role in roles}
    assert len([n for n in names if n.startswith("system:controller:")]) >= 38
    assert {"admin", "edit", "view", "cluster-admin", "system:kube-aggregator", "system:auth-delegator"} <= names
    assert {r["metadata"]["labels"]["kubernetes.io/bootstrapping"] for r in roles} == {"rbac-defaults"}
    own = (await scene.admin("GET", f"{GROUP}/namespaces/kube-system/roles")).body["items"]
    assert {role["metadata"]["name"] for role in own} == {
        "extension-apiserver-authentication-reader", "system::leader-locking-kube-controller-manager",
        "system::leader-locking-kube-scheduler", "system:controller:bootstrap-signer",
        "system:controller:cloud-provider", "system:controller:token-cleaner", "system:kube-dns",
    }  # fmt: skip


async def test_an_answer_says_by_what(scene: Scene) -> None:
    await scene.grant("reader", "jane", rule("get list", "pods"))
    await scene.grant("one", "jane", rule("get list watch", "secrets", "", "mine"), namespace="default")

    async def ask(**attributes: str) -> Any:
        spec = {"user": "jane", "resourceAttributes": attributes}
        return (await scene.admin("POST", f"{REVIEWS}/subjectaccessreviews", {"spec": spec})).body["status"]

    assert await ask(verb="get", resource="pods", namespace="x") == {
        "allowed": True,
        "reason": 'RBAC: allowed by ClusterRoleBinding "reader" of ClusterRole "reader" to User "jane"',
    }
    assert await ask(verb="get", resource="secrets", namespace="default", name="mine") == {
        "allowed": True, "reason": 'RBAC: allowed by RoleBinding "one/default" of Role "one" to User "jane"',
    }  # fmt: skip
    assert await ask(verb="get", resource="secrets", namespace="default", name="theirs") == {"allowed": False}
    listed = await scene.admin(
        "GET", f"{HERE}/secrets?fieldSelector=metadata.name%3Dmine", Impersonate_User="jane"
    )  # names count for lists of one
    assert listed.code == 200
    assert (await scene.admin("GET", f"{HERE}/secrets", Impersonate_User="jane")).code == 403


async def test_all_four_reviews_answer(scene: Scene) -> None:
    url = {"nonResourceAttributes": {"verb": "get", "path": "/healthz"}}
    me = (await scene.admin("POST", f"{REVIEWS}/selfsubjectaccessreviews", {"spec": url})).body
    assert me["status"]["allowed"] is True
    everybody = {"spec": {"groups": ["system:unauthenticated"], **url}}
    assert (await scene.admin("POST", f"{REVIEWS}/subjectaccessreviews", everybody)).body["status"]["allowed"] is True
    local = f"{REVIEWS}/namespaces/default/localsubjectaccessreviews"
    about = {"verb": "get", "resource": "pods", "namespace": "default"}
    assert (await scene.admin("POST", local, {"spec": {"user": "x", "resourceAttributes": about}})).code == 201
    elsewhere = {"user": "x", "resourceAttributes": about | {"namespace": "other"}}
    refused = await scene.admin("POST", local, {"spec": elsewhere})
    assert (refused.code, "must match metadata.namespace" in refused.body["message"]) == (422, True)
    rules = await scene.admin("POST", f"{REVIEWS}/selfsubjectrulesreviews", {"spec": {"namespace": "default"}})
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    assert rules.body["status"]["resourceRules"].count(everything) == 1
    kubelet = await scene.admin(
        "POST", f"{REVIEWS}/selfsubjectrulesreviews", {"spec": {"namespace": "default"}}, **KUBELET
    )
    assert kubelet.body["status"]["incomplete"] is True
    assert kubelet.body["status"]["evaluationError"] == "node authorizer does not support user rule resolution"


async def test_one_is_told_who_one_is_and_when(scene: Scene) -> None:
    answer = await scene.admin("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
    assert answer.body["metadata"]["creationTimestamp"]
    assert answer.body["status"]["userInfo"]["username"] == "kubernetes-admin"


async def test_nobody_grants_what_they_do_not_have(scene: Scene) -> None:
    await scene.grant("granter", "gus", rule("create update patch", "roles rolebindings clusterroles", "rbac.authorization.k8s.io"),
                      rule("get", "pods"))  # fmt: skip
    own = {"metadata": {"name": "small"}, "rules": [rule("get", "pods")]}
    more = {"metadata": {"name": "large"}, "rules": [rule("get delete", "pods")]}
    roles = f"{GROUP}/namespaces/default/roles"
    assert (await scene.admin("POST", roles, own, Impersonate_User="gus")).code == 201
    refused = await scene.admin("POST", roles, more, Impersonate_User="gus")
    assert (refused.code, refused.body["message"]) == (
        403,
        'roles.rbac.authorization.k8s.io "large" is forbidden: user "gus" (groups=["system:authenticated"]) is '
        "attempting to grant RBAC permissions not currently held:\n"
        '{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}',
    )
    bind = {
        "metadata": {"name": "b"}, "subjects": [],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    }  # fmt: skip
    bindings = f"{GROUP}/namespaces/default/rolebindings"
    assert (await scene.admin("POST", bindings, bind, Impersonate_User="gus")).code == 403
    await scene.grant("binder", "gus", rule("bind", "clusterroles", "rbac.authorization.k8s.io", "cluster-admin"))
    assert (await scene.admin("POST", bindings, bind, Impersonate_User="gus")).code == 201
    await scene.grant("escalator", "gus", rule("escalate", "roles", "rbac.authorization.k8s.io"))
    assert (await scene.admin("POST", roles, more, Impersonate_User="gus")).code == 201


async def test_kubectl_asks_who_one_is_and_what_one_may(scene: Scene) -> None:
    code, out = await scene.kubectl("auth", "whoami")
    assert (code, "kubernetes-admin" in out, "system:masters" in out) == (0, True, True)
    assert await scene.kubectl("auth", "can-i", "delete", "nodes") == (
        0,
        "Warning: resource 'nodes' is not namespace scoped\n\nyes\n",
    )
    assert (await scene.kubectl("auth", "can-i", "create", "pods", "--as=nobody"))[0] == 1
    assert await scene.kubectl("auth", "can-i", "get", "/healthz", "--as=nobody") == (0, "yes\n")
    await scene.grant("lister", "lara", rule("list", "pods", ""), namespace="default")
    code, out = await scene.kubectl("auth", "can-i", "--list", "--as=lara", "-n", "default")
    assert code == 0
    assert [line.split() for line in out.splitlines() if line.startswith("pods")] == [["pods", "[]", "[]", "[list]"]]


async def test_kubectl_reconciles_roles(scene: Scene) -> None:
    manifest = (
        "kind: Role\napiVersion: rbac.authorization.k8s.io/v1\nmetadata: {name: kept, namespace: default}\nrules:\n"
        "- {apiGroups: [''], resources: [pods], verbs: [%s]}\n"
    )
    code, out = await scene.kubectl("auth", "reconcile", "-f", "-", stdin=manifest % "get")
    assert (code, "kept reconciled" in out) == (0, True), out
    code, out = await scene.kubectl("auth", "reconcile", "-f", "-", stdin=manifest % "list")
    assert code == 0, out
    role = (await scene.admin("GET", f"{GROUP}/namespaces/default/roles/kept")).body
    assert sorted(verb for r in role["rules"] for verb in r["verbs"]) == ["get", "list"]


# --- [sig-auth] NodeAuthorizer


@pytest.mark.parametrize("resource", ["secrets", "configmaps"])
async def test_a_kubelet_is_not_even_told_whether_something_exists(scene: Scene, resource: str) -> None:
    await scene.admin("POST", f"{HERE}/{resource}", {"metadata": {"name": "there"}})
    for name in ("there", "not-there"):
        answer = await scene.admin("GET", f"{HERE}/{resource}/{name}", **KUBELET)
        what = f'User "system:node:n1" cannot get resource "{resource}" in API group "" in the namespace "default"'
        assert (answer.code, answer.body["message"]) == (403, f'{resource} "{name}" is forbidden: {what}: {CLOSED}')


async def test_a_kubelet_makes_and_deletes_no_other_node(scene: Scene) -> None:
    other = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "other"}}
    made = await scene.admin("POST", "/api/v1/nodes", other, **KUBELET)
    assert (made.code, 'node "n1" is not allowed to modify node "other"' in made.body["message"]) == (403, True)
    await scene.admin("POST", "/api/v1/nodes", other)
    assert (await scene.admin("DELETE", "/api/v1/nodes/other", **KUBELET)).code == 403
    assert (await scene.admin("POST", "/api/v1/nodes", other | {"metadata": {"name": "n1"}}, **KUBELET)).code == 201
    taint = {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}
    patched = await scene.admin("PATCH", "/api/v1/nodes/n1", taint, "application/merge-patch+json", **KUBELET)
    assert 'node "n1" is not allowed to modify taints' in patched.body["message"]


async def test_a_kubelet_removes_the_slices_of_its_own_node_only(scene: Scene) -> None:
    slices = "/apis/resource.k8s.io/v1/resourceslices"
    for node in ("n1", "n2"):
        pool = {"name": node, "generation": 1, "resourceSliceCount": 1}
        spec = {"nodeName": node, "driver": "d.example", "pool": pool, "devices": [{"name": "a"}]}
        body = {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": node}, "spec": spec}
        assert (await scene.admin("POST", slices, body)).code == 201
    for which in ("", "?fieldSelector=spec.nodeName%3Dn2"):
        refused = await scene.admin("DELETE", f"{slices}{which}", **KUBELET)
        assert (refused.code, "with spec.nodeName field selector" in refused.body["message"]) == (403, True)
    done = await scene.admin("DELETE", f"{slices}?fieldSelector=spec.nodeName%3Dn1", **KUBELET)
    assert done.code == 200, done.body
    left = (await scene.admin("GET", slices)).body["items"]
    assert [s["metadata"]["name"] for s in left] == ["n2"]


# --- [sig-auth] SubjectReview


async def test_the_rights_of_accounts_can_be_reviewed(scene: Scene) -> None:
    account = "system:serviceaccount:default:tested"
    await scene.admin("POST", f"{HERE}/serviceaccounts", {"metadata": {"name": "tested"}})
    await scene.grant("accounts", account, rule("list", "configmaps"))
    about = {"verb": "list", "resource": "configmaps", "namespace": "default", "version": "v1"}
    body = {"spec": {"user": account, "resourceAttributes": about}}
    answer = await scene.admin("POST", f"{REVIEWS}/subjectaccessreviews", body)
    assert (answer.body["kind"], answer.body["status"]["allowed"]) == ("SubjectAccessReview", True)
    local = await scene.admin("POST", f"{REVIEWS}/namespaces/default/localsubjectaccessreviews", body)
    assert (local.body["kind"], local.body["status"]["allowed"]) == ("LocalSubjectAccessReview", True)


async def test_what_others_took_from_default_roles_comes_back_when_a_server_starts(tmp_path: Path) -> None:
    from machinery.testing import apiserver, etcd, write_certificates

    pki = tmp_path / "pki"
    write_certificates(pki)
    view, basic = f"{GROUP}/clusterroles/system:discovery", f"{GROUP}/clusterroles/system:basic-user"
    async with etcd(tmp_path, pki) as url:
        async with apiserver(tmp_path, pki, url) as plane, person(plane, "admin") as admin:
            before = (await admin("GET", view)).body["rules"]
            merge = "application/merge-patch+json"
            await admin("PATCH", view, {"rules": [], "metadata": {"labels": {"own": "label"}}}, merge)
            kept = {"rbac.authorization.kubernetes.io/autoupdate": "false"}
            await admin("PATCH", basic, {"rules": [], "metadata": {"annotations": kept}}, merge)
        async with apiserver(tmp_path, pki, url) as plane, person(plane, "admin") as admin:
            after = (await admin("GET", view)).body
            assert (after["rules"], after["metadata"]["labels"]["own"]) == (before, "label")
            assert not (await admin("GET", basic)).body.get("rules")
