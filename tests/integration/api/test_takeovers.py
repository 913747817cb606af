"""Attempts to get more than one has: with a node's credentials, and by roles, bindings, tokens, names and certificates.

Each is something that the administrator may do, so that it is refused for who asks, not for how.
"""

import base64
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from api import errors
from api.types import ObjectMeta, PolicyRule, Role
from machinery.client import connect
from machinery.kubeconfigs import Access
from machinery.testing import ControlPlane, control_plane, free_port

from .people import Person, person

pytestmark = pytest.mark.asyncio(loop_scope="module")

HERE = "/api/v1/namespaces/default"
RBAC, GROUP = "/apis/rbac.authorization.k8s.io/v1", "rbac.authorization.k8s.io"
ROLES, BINDINGS = f"{RBAC}/namespaces/default/roles", f"{RBAC}/namespaces/default/rolebindings"
SIGNING = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
NODE = {"Impersonate_User": "system:node:n1", "Impersonate_Group": "system:nodes"}
MALLORY = {"Impersonate_User": "mallory"}
MERGE, JSON, STRATEGIC, APPLY = (
    f"application/{kind}" for kind in ("merge-patch+json", "json-patch+json", "strategic-merge-patch+json", "apply-patch+yaml")
)  # fmt: skip


class Scene(NamedTuple):
    plane: ControlPlane
    admin: Person
    token_port: int
    uids: dict[str, str]


class Attack(NamedTuple):
    method: str
    path: str
    body: Any = None
    media: str = "application/json"


def rule(verbs: str, resources: str, group: str = "", *names: str) -> dict[str, Any]:
    found = {"verbs": verbs.split(), "apiGroups": [group], "resources": resources.split()}
    return found | ({"resourceNames": [*names]} if names else {})


def role(name: str, *rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **more.pop("metadata", {})}, "rules": [*rules], **more}


def binding(name: str, sort: str, wanted: str, *users: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name}, "roleRef": {"apiGroup": GROUP, "kind": sort, "name": wanted},
        "subjects": [{"kind": "User", "apiGroup": GROUP, "name": user} for user in users],
    }  # fmt: skip


def pod(name: str, node: str) -> dict[str, Any]:
    volumes = [
        {"name": "s", "secret": {"secretName": f"{name}-secret"}},
        {"name": "c", "configMap": {"name": f"{name}-config"}},
    ]
    containers = [{"name": "c", "image": "i"}]
    return {"metadata": {"name": name}, "spec": {"nodeName": node, "containers": containers, "volumes": volumes}}


def mirror(**spec: Any) -> dict[str, Any]:
    metadata = {"name": "mirrored", "annotations": {"kubernetes.io/config.mirror": "x"}}
    return {"metadata": metadata, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}], **spec}}


def request(user: str, signer: str, *groups: str) -> dict[str, Any]:
    key = ec.generate_private_key(ec.SECP256R1())
    names = [(NameOID.COMMON_NAME, user), *((NameOID.ORGANIZATION_NAME, group) for group in groups)]
    subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in names])
    pem = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    encoded = base64.b64encode(pem.public_bytes(serialization.Encoding.PEM)).decode()
    usages = ["digital signature", "client auth"]
    return {"metadata": {"name": "asked"}, "spec": {"request": encoded, "signerName": signer, "usages": usages}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    port = free_port()
    place = tmp_path_factory.mktemp("takeovers")
    async with control_plane(place, f"--grpc-token-port={port}") as plane, person(plane, "admin") as admin:

        async def make(path: str, *documents: dict[str, Any]) -> None:
            for document in documents:
                made = await admin("POST", path, document)
                assert made.code == 201, made.body

        await make(f"{HERE}/serviceaccounts", *({"metadata": {"name": name}} for name in ("default", "low", "high")))
        await make("/api/v1/nodes", *({"metadata": {"name": name}} for name in ("n1", "n2")))
        await make(LEASES, {"metadata": {"name": "n2"}, "spec": {}})
        for name in ("own", "foreign"):
            await make(f"{HERE}/secrets", {"metadata": {"name": f"{name}-secret"}, "stringData": {"gold": "here"}})
            await make(f"{HERE}/configmaps", {"metadata": {"name": f"{name}-config"}})
        await make(f"{HERE}/pods", pod("own", "n1"), pod("foreign", "n2"))
        held = [
            rule("get list create update patch delete", "roles rolebindings clusterroles clusterrolebindings", GROUP),
            rule("get create", "pods"),
            rule("create get", "certificatesigningrequests", "certificates.k8s.io"),
            rule("create", "serviceaccounts/token", "", "low"),
        ]
        await make(f"{RBAC}/clusterroles", role("mallory", *held), role("modest", rule("get", "pods")))
        await make(f"{RBAC}/clusterrolebindings", binding("mallory", "ClusterRole", "mallory", "mallory"))
        await make(ROLES, role("small", rule("get", "pods")))
        await make(BINDINGS, binding("theirs", "ClusterRole", "cluster-admin", "alice"))
        uids = {
            name: (await admin("GET", f"{HERE}/pods/{name}")).body["metadata"]["uid"] for name in ("own", "foreign")
        }
        yield Scene(plane, admin, port, uids)


def token(of: str = "", uid: str = "") -> dict[str, Any]:
    bound = {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": of, "uid": uid}} if of else {}
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": bound}


def labels(**found: str) -> dict[str, Any]:
    return {"metadata": {"labels": {key.replace("__", "/"): value for key, value in found.items()}}}


CONDITION = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
OF_A_NODE = {
    "read another's secret": Attack("GET", f"{HERE}/secrets/foreign-secret"),
    "list secrets": Attack("GET", f"{HERE}/secrets"),
    "list everybody's secrets": Attack("GET", "/api/v1/secrets"),
    "watch secrets": Attack("GET", "/api/v1/secrets?watch=1&timeoutSeconds=1"),
    "list one that is another's": Attack("GET", f"{HERE}/secrets?fieldSelector=metadata.name%3Dforeign-secret"),
    "watch one that is another's": Attack("GET", f"{HERE}/secrets?watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3Dforeign-secret"),
    "change its own secret": Attack("PATCH", f"{HERE}/secrets/own-secret", labels(a="b"), MERGE),
    "read another's config map": Attack("GET", f"{HERE}/configmaps/foreign-config"),
    "read another's pod": Attack("GET", f"{HERE}/pods/foreign"),
    "list everybody's pods": Attack("GET", "/api/v1/pods"),
    "change another's pod's status": Attack("PATCH", f"{HERE}/pods/foreign/status", CONDITION, MERGE),
    "change its own pod": Attack("PATCH", f"{HERE}/pods/own", labels(a="b"), MERGE),
    "hold its own pod by a finalizer": Attack("PATCH", f"{HERE}/pods/own", {"metadata": {"finalizers": ["a.b/c"]}}, MERGE),
    "label its own pod by its status": Attack("PATCH", f"{HERE}/pods/own/status", labels(a="b"), MERGE),
    "delete another's pod": Attack("DELETE", f"{HERE}/pods/foreign"),
    "delete every pod": Attack("DELETE", f"{HERE}/pods"),
    "evict another's pod": Attack("POST", f"{HERE}/pods/foreign/eviction", {"metadata": {"name": "foreign"}}),
    "start a pod": Attack("POST", f"{HERE}/pods", pod("new", "n1") | {"metadata": {"name": "new"}}),
    "mirror a pod with an account": Attack("POST", f"{HERE}/pods", mirror(serviceAccountName="high")),
    "mirror a pod with a secret": Attack("POST", f"{HERE}/pods", mirror(volumes=[{"name": "s", "secret": {"secretName": "foreign-secret"}}])),
    "debug its own pod": Attack("PATCH", f"{HERE}/pods/own/ephemeralcontainers", {"spec": {"ephemeralContainers": [{"name": "d", "image": "i"}]}}, STRATEGIC),
    "get a token of an account": Attack("POST", f"{HERE}/serviceaccounts/high/token", token()),
    "get a token for another's pod": Attack("POST", f"{HERE}/serviceaccounts/default/token", token("foreign")),
    "label another node": Attack("PATCH", "/api/v1/nodes/n2", labels(a="b"), MERGE),
    "change another node's status": Attack("PATCH", "/api/v1/nodes/n2/status", CONDITION, MERGE),
    "steer pods to itself": Attack("PATCH", "/api/v1/nodes/n1", labels(**{"node-restriction.kubernetes.io__x": "y"}), MERGE),
    "become a master": Attack("PATCH", "/api/v1/nodes/n1", labels(**{"node-role.kubernetes.io__control-plane": ""}), MERGE),
    "take its taints away": Attack("PATCH", "/api/v1/nodes/n1", {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}, MERGE),
    "give itself an owner": Attack("PATCH", "/api/v1/nodes/n1", {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "y"}]}}, MERGE),
    "delete itself": Attack("DELETE", "/api/v1/nodes/n1"),
    "renew another's lease": Attack("PATCH", f"{LEASES}/n2", {"spec": {"holderIdentity": "n1"}}, MERGE),
    "ask for another's certificate": Attack("POST", SIGNING, request("system:node:n2", "kubernetes.io/kube-apiserver-client-kubelet", "system:nodes")),
    "give rights": Attack("POST", f"{RBAC}/clusterrolebindings", binding("b", "ClusterRole", "cluster-admin", "system:node:n1")),
}  # fmt: skip
ALL = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
BOSS = rule("get", "secrets")
OF_A_USER = {
    "make a role": Attack("POST", ROLES, role("r", BOSS)),
    "make a role of everything": Attack("POST", f"{RBAC}/clusterroles", role("r", ALL)),
    "make a role of paths": Attack("POST", f"{RBAC}/clusterroles", role("r", {"verbs": ["get"], "nonResourceURLs": ["*"]})),
    "make a role that collects": Attack("POST", f"{RBAC}/clusterroles", role("r", aggregationRule={"clusterRoleSelectors": [{}]})),
    "make a role that others collect": Attack("POST", f"{RBAC}/clusterroles", role("r", BOSS, metadata={"labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}})),
    "replace a role": Attack("PUT", f"{ROLES}/small", role("small", rule("get", "pods"), BOSS)),
    "merge into a role": Attack("PATCH", f"{ROLES}/small", {"rules": [BOSS]}, MERGE),
    "merge strategically": Attack("PATCH", f"{ROLES}/small", {"rules": [BOSS]}, STRATEGIC),
    "add to a role": Attack("PATCH", f"{ROLES}/small", [{"op": "add", "path": "/rules/-", "value": BOSS}], JSON),
    "apply a role": Attack("PATCH", f"{ROLES}/small?fieldManager=m&force=true", {"apiVersion": f"{GROUP}/v1", "kind": "Role", **role("small", BOSS)}, APPLY),
    "let a role collect": Attack("PATCH", f"{RBAC}/clusterroles/modest", {"aggregationRule": {"clusterRoleSelectors": [{}]}}, MERGE),
    "widen a default role": Attack("PATCH", f"{RBAC}/clusterroles/system:basic-user", {"rules": [ALL]}, MERGE),
    "bind a role": Attack("POST", BINDINGS, binding("b", "ClusterRole", "system:node", "mallory")),
    "bind the role of masters": Attack("POST", f"{RBAC}/clusterrolebindings", binding("b", "ClusterRole", "cluster-admin", "mallory")),
    "join a binding": Attack("PATCH", f"{BINDINGS}/theirs", {"subjects": [{"kind": "User", "apiGroup": GROUP, "name": "mallory"}]}, MERGE),
    "join a binding by a list": Attack("PATCH", f"{BINDINGS}/theirs", [{"op": "add", "path": "/subjects/-", "value": {"kind": "Group", "apiGroup": GROUP, "name": "system:authenticated"}}], JSON),
    "get another account's token": Attack("POST", f"{HERE}/serviceaccounts/high/token", token()),
    "read secrets": Attack("GET", f"{HERE}/secrets"),
    "decide upon requests": Attack("PUT", f"{SIGNING}/pending/approval", {"metadata": {"name": "pending"}, "status": {"conditions": [{"type": "Approved", "status": "True"}]}}),
    "finalize a namespace": Attack("PUT", "/api/v1/namespaces/default/finalize", {"metadata": {"name": "default"}, "spec": {"finalizers": []}}),
    "see into a pod": Attack("GET", f"{HERE}/pods/own/log"),
    "move a pod": Attack("POST", f"{HERE}/pods/own/binding", {"target": {"kind": "Node", "name": "n2"}}),
}  # fmt: skip
NOT_FOR_THE_ADMINISTRATOR = {"mirror a pod with an account", "decide upon requests", "see into a pod", "move a pod", "watch secrets", "watch one that is another's"}  # fmt: skip
"""What has no dry run that succeeds: those ask a kubelet, last, or need what is not there."""


@pytest.mark.parametrize("name", OF_A_NODE)
async def test_a_nodes_credentials_open_nothing_of_others(scene: Scene, name: str) -> None:
    attack = OF_A_NODE[name]
    if name == "get a token for another's pod":
        attack = attack._replace(body=token("foreign", scene.uids["foreign"]))
    await refused(scene, name, attack, NODE)


@pytest.mark.parametrize("name", OF_A_USER)
async def test_nobody_gets_more_rights_than_they_have(scene: Scene, name: str) -> None:
    await refused(scene, name, OF_A_USER[name], MALLORY)


async def refused(scene: Scene, name: str, attack: Attack, who: dict[str, str]) -> None:
    answer = await scene.admin(attack.method, attack.path, attack.body, attack.media, **who)
    assert (answer.code, answer.body["reason"]) == (403, "Forbidden"), answer.body
    if name not in NOT_FOR_THE_ADMINISTRATOR:
        more = "&dryRun=All" if "?" in attack.path else "?dryRun=All"
        path = attack.path if attack.method == "GET" else attack.path + more
        allowed = await scene.admin(attack.method, path, attack.body, attack.media)
        assert allowed.code in (200, 201), allowed.body


async def test_what_is_its_own_a_node_gets(scene: Scene) -> None:
    for path in ("secrets/own-secret", "configmaps/own-config", "pods/own"):
        assert (await scene.admin("GET", f"{HERE}/{path}", **NODE)).code == 200
    own = token("own", scene.uids["own"])
    assert (await scene.admin("POST", f"{HERE}/serviceaccounts/default/token", own, **NODE)).code == 201


@pytest.mark.parametrize(
    "headers",
    [
        {"User": "kubernetes-admin"},
        {"User": "jane", "Group": "system:masters"},
        {"User": "jane", "Uid": "1"},
        {"User": "jane", "Extra_Scopes": "all"},
        {"User": "system:serviceaccount:default:high"},
        {"User": "system:node:n1", "Group": "system:nodes"},
        {"User": "system:anonymous"},
    ],
)
async def test_who_may_act_as_one_acts_as_no_other(scene: Scene, headers: dict[str, str]) -> None:
    await scene.admin("POST", f"{RBAC}/clusterroles", role("actor", rule("impersonate", "users", "", "jane")))
    by_account = binding("actor", "ClusterRole", "actor")
    by_account["subjects"] = [{"kind": "ServiceAccount", "namespace": "default", "name": "low"}]
    await scene.admin("POST", f"{RBAC}/clusterrolebindings", by_account)
    issued = await scene.admin("POST", f"{HERE}/serviceaccounts/low/token", token())
    async with person(scene.plane, token=issued.body["status"]["token"]) as actor:
        review = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        as_jane = await actor("POST", review, {}, Impersonate_User="jane")
        assert as_jane.body["status"]["userInfo"]["username"] == "jane"
        answer = await actor("POST", review, {}, **{f"Impersonate_{key}": value for key, value in headers.items()})
        assert (answer.code, "cannot impersonate" in answer.body["message"]) == (403, True)


async def test_the_other_door_gives_no_more_rights(scene: Scene) -> None:
    by_account = binding("grpc", "ClusterRole", "mallory")
    by_account["subjects"] = [{"kind": "ServiceAccount", "namespace": "default", "name": "low"}]
    assert (await scene.admin("POST", f"{RBAC}/clusterrolebindings", by_account)).code == 201
    issued = await scene.admin("POST", f"{HERE}/serviceaccounts/low/token", token())
    ca = (scene.plane.pki / "admin" / "ca.crt").read_bytes()
    access = Access(f"https://127.0.0.1:{scene.token_port}", ca, b"", b"", issued.body["status"]["token"])
    more = PolicyRule(apiGroups=[""], resources=["secrets"], verbs=["get"])
    async with connect(access) as low:
        assert (await low.get(Role, "small", "default")).metadata.name == "small"
        with pytest.raises(errors.Forbidden, match="attempting to grant"):
            await low.create(Role(metadata=ObjectMeta(name="r", namespace="default"), rules=[more]))
        for kind in ("merge", "strategic", "apply"):
            patch = {"apiVersion": f"{GROUP}/v1", "kind": "Role", "metadata": {"name": "small"}, "rules": [BOSS]}
            with pytest.raises(errors.Forbidden, match="attempting to grant"):
                await low.patch(Role, "small", "default", patch, kind=kind, field_manager="m", force=kind == "apply")
