"""Certificate signing requests, from the asking to the use of what was issued."""

import asyncio
import base64
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from machinery import kubeconfigs
from machinery.kubeconfigs import Access
from machinery.testing import ControlPlane, control_plane
from tests.integration.processes import controller_manager

from .people import Person, person

pytestmark = pytest.mark.asyncio(loop_scope="module")

REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
GROUP = "/apis/rbac.authorization.k8s.io/v1"
CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET = "kubernetes.io/kube-apiserver-client-kubelet"
MERGE = "application/merge-patch+json"
KEY = ec.generate_private_key(ec.SECP256R1())


def pem(name: str, *groups: str) -> str:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, g) for g in groups]
    subject = x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(KEY, hashes.SHA256())
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


def csr(name: str, **spec: Any) -> dict[str, Any]:
    usages = ["digital signature", "client auth"]
    return {
        "metadata": {"name": name},
        "spec": {"request": pem("jane"), "signerName": CLIENT, "usages": usages, **spec},
    }


class Scene(NamedTuple):
    plane: ControlPlane
    admin: Person
    place: Path

    async def signed(self, name: str) -> dict[str, Any]:
        """The status, once the controllers have done their part."""
        for _ in range(200):
            status: dict[str, Any] = (await self.admin("GET", f"{REQUESTS}/{name}")).body["status"]
            if "certificate" in status or any(c["type"] == "Failed" for c in status.get("conditions", ())):
                return status
            await asyncio.sleep(0.02)
        raise AssertionError(f"{name} was not signed: {status}")

    def kubectl(self) -> tuple[str, ...]:
        path = self.place / "admin.kubeconfig"
        if not path.exists():
            self.plane.kubeconfig(path)
        return shutil.which("kubectl") or "kubectl", f"--kubeconfig={path}"


async def run(*command: str) -> str:
    child = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await child.communicate()
    assert child.returncode == 0, out.decode()
    return out.decode()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    place = tmp_path_factory.mktemp("csr")
    async with control_plane(place) as plane, person(plane, "admin") as admin, controller_manager(plane, place):
        yield Scene(plane, admin, place)


async def test_kubectl_approves_and_the_client_calls_with_what_it_got(scene: Scene) -> None:
    wanted = csr("jane", request=pem("jane", "dev"), expirationSeconds=3600)
    assert (await scene.admin("POST", REQUESTS, wanted)).code == 201
    assert "approved" in await run(*scene.kubectl(), "certificate", "approve", "jane")
    status = await scene.signed("jane")
    certificate = base64.b64decode(status["certificate"])
    (scene.place / "jane.crt").write_bytes(certificate)
    (scene.place / "jane.key").write_bytes(
        KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    async with person(scene.plane, pair=(scene.place / "jane.crt", scene.place / "jane.key")) as jane:
        answer = await jane("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
        info = answer.body["status"]["userInfo"]
        assert (info["username"], info["groups"]) == ("jane", ["dev", "system:authenticated"])
        assert (await jane("POST", REQUESTS, csr("more"))).code == 403
    access = Access(scene.plane.rest, scene.plane.access().ca, certificate, (scene.place / "jane.key").read_bytes())
    (scene.place / "jane.kubeconfig").write_text(kubeconfigs.dump(access, "test", "jane"))
    told = await run(scene.kubectl()[0], f"--kubeconfig={scene.place / 'jane.kubeconfig'}", "auth", "whoami")
    assert "jane" in told
    assert "dev" in told


async def test_kubectl_denies_and_nothing_is_signed(scene: Scene) -> None:
    await scene.admin("POST", REQUESTS, csr("denied"))
    assert "denied" in await run(*scene.kubectl(), "certificate", "deny", "denied")
    listed = await run(*scene.kubectl(), "get", "csr", "denied")
    assert "Denied" in listed
    assert "kubernetes-admin" in listed


async def test_what_the_signer_refuses_has_failed(scene: Scene) -> None:
    await scene.admin("POST", REQUESTS, csr("server", usages=["server auth"]))
    await run(*scene.kubectl(), "certificate", "approve", "server")
    conditions = (await scene.signed("server"))["conditions"]
    assert [c["type"] for c in conditions] == ["Approved", "Failed"]
    assert conditions[1]["reason"] == "SignerValidationFailure"


async def test_a_kubelet_renews_its_own_certificate_by_itself(scene: Scene) -> None:
    role = "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient"
    binding = {
        "metadata": {"name": "nodes-renew"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:nodes"}],
    }
    await scene.admin("POST", f"{GROUP}/clusterrolebindings", binding)
    async with person(scene.plane, "node1-kubelet") as kubelet:
        wanted = csr("node1", signerName=KUBELET, request=pem("system:node:node1", "system:nodes"))
        made = await kubelet("POST", REQUESTS, wanted)
    assert made.code == 201, made.body
    assert made.body["spec"]["username"] == "system:node:node1"
    status = await scene.signed("node1")
    [approved] = status["conditions"]
    assert (approved["type"], approved["reason"]) == ("Approved", "AutoApproved")
    assert "certificate" in status


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (pem("system:node:node2", "system:nodes"), "can only create a node CSR with CN=system:node:node1"),
        (pem("jane", "system:nodes"), "can only create a node CSR with CN=system:node:node1"),
        (base64.b64encode(b"x").decode(), "unable to parse csr: PEM block type must be CERTIFICATE REQUEST"),
    ],
)
async def test_a_kubelet_asks_for_itself_alone(scene: Scene, request_: str, why: str) -> None:
    async with person(scene.plane, "node1-kubelet") as kubelet:
        answer = await kubelet("POST", REQUESTS, csr("other", signerName=KUBELET, request=request_))
    assert (answer.code, answer.body["message"]) == (
        403, f'certificatesigningrequests.certificates.k8s.io "other" is forbidden: {why}',
    )  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"request": base64.b64encode(b"x").decode()}, "PEM block type must be CERTIFICATE REQUEST"),
        ({"usages": []}, "spec.usages: Required value"),
        ({"usages": ["digital signature", "nonsense"]}, 'spec.usages[1]: Unsupported value: "nonsense"'),
        ({"usages": ["any", "any"]}, 'spec.usages[1]: Duplicate value: "any"'),
        ({"signerName": ""}, "spec.signerName: Required value"),
        ({"signerName": "short/x"}, "should be a domain with at least two segments separated by dots"),
        ({"signerName": "a"}, "must be a fully qualified domain and path of the form 'example.com/signer-name'"),
        ({"signerName": "kubernetes.io/legacy-unknown"}, "the legacy signerName is not allowed via this API version"),
        ({"expirationSeconds": 599}, "may not specify a duration less than 600 seconds (10 minutes)"),
    ],
)  # fmt: skip
async def test_what_may_not_be_asked(scene: Scene, spec: dict[str, Any], message: str) -> None:
    answer = await scene.admin("POST", REQUESTS, csr("bad", **spec))
    assert (answer.code, message in answer.body["message"]) == (422, True), answer.body["message"]


async def test_a_request_may_have_any_name_that_a_path_can_have(scene: Scene) -> None:
    """Kubelets call their first ones by a digest, in base64."""
    made = await scene.admin("POST", REQUESTS, csr("node-csr-7uCA_xY"))
    assert made.code == 201, made.body
    listed = await scene.admin("GET", f"{REQUESTS}?fieldSelector=metadata.name%3Dnode-csr-7uCA_xY")
    assert [each["metadata"]["name"] for each in listed.body["items"]] == ["node-csr-7uCA_xY"]
    refused = await scene.admin("POST", REQUESTS, csr("a/b"))
    assert (refused.code, "metadata.name: Invalid value" in refused.body["message"]) == (422, True), refused.body


async def test_nobody_asks_for_a_certificate_of_the_masters(scene: Scene) -> None:
    answer = await scene.admin("POST", REQUESTS, csr("root", request=pem("root", "system:masters")))
    why = f"use of {CLIENT} signer with system:masters group is not allowed"
    assert (answer.code, answer.body["message"]) == (
        403, f'certificatesigningrequests.certificates.k8s.io "root" is forbidden: {why}',
    )  # fmt: skip


async def test_the_server_says_who_asked_and_it_stays_so(scene: Scene) -> None:
    made = (
        await scene.admin(
            "POST", REQUESTS, csr("mine", username="somebody", groups=["else"], signerName="example.com/x")
        )
    ).body
    assert (made["spec"]["username"], made["spec"]["groups"][0]) == ("kubernetes-admin", "system:masters")
    changed = await scene.admin(
        "PATCH", f"{REQUESTS}/mine",
        {"metadata": {"labels": {"a": "b"}}, "spec": {"username": "x"}, "status": {"conditions": [{"type": "Approved"}]}},
        MERGE,
    )  # fmt: skip
    assert changed.code == 200
    assert changed.body["spec"] == made["spec"]
    assert (changed.body["metadata"]["labels"], changed.body["status"]) == ({"a": "b"}, {})


async def test_decisions_are_made_under_approval_and_stay(scene: Scene) -> None:
    await scene.admin("POST", REQUESTS, csr("decided", signerName="example.com/x"))

    async def say(subresource: str, *conditions: dict[str, str], **status: str) -> Any:
        body = {"status": {"conditions": list(conditions), **status}}
        return await scene.admin("PATCH", f"{REQUESTS}/decided/{subresource}", body, MERGE)

    approved, denied = ({"type": t, "status": "True", "reason": "r"} for t in ("Approved", "Denied"))
    refused = await say("status", approved)
    assert 'updates may not add a condition of type "Approved"' in refused.body["message"]
    refused = await say("approval", {**approved, "status": "False"})
    assert (
        'status.conditions[0].status: Unsupported value: "False": supported values: "True"' in refused.body["message"]
    )
    accepted = await say("approval", approved, certificate="eHh4")
    assert accepted.code == 200
    [condition] = accepted.body["status"]["conditions"]
    assert condition["lastUpdateTime"]
    assert condition["lastTransitionTime"]
    assert "certificate" not in accepted.body["status"]
    refused = await say("approval", approved, denied)
    assert "Approved and Denied conditions are mutually exclusive" in refused.body["message"]
    refused = await say("approval")
    assert 'updates may not remove a condition of type "Approved"' in refused.body["message"]
    own = base64.b64encode((scene.plane.pki / "admin" / "tls.crt").read_bytes()).decode()
    refused = await say("status", condition, certificate="eHh4")
    assert "status.certificate: Invalid value" in refused.body["message"]
    assert (await say("status", condition, certificate=own)).code == 200
    other = base64.b64encode((scene.plane.pki / "etcd" / "tls.crt").read_bytes()).decode()
    refused = await say("status", condition, certificate=other)
    assert "updates may not modify existing certificate content" in refused.body["message"]


async def test_signers_are_named_in_the_rights_of_those_who_decide(scene: Scene) -> None:
    rules = [
        {"verbs": ["get", "update", "patch"], "apiGroups": ["certificates.k8s.io"],
         "resources": ["certificatesigningrequests", "certificatesigningrequests/approval"]},
        {"verbs": ["approve"], "apiGroups": ["certificates.k8s.io"], "resources": ["signers"],
         "resourceNames": ["example.com/*"]},
    ]  # fmt: skip
    await scene.admin("POST", f"{GROUP}/clusterroles", {"metadata": {"name": "approver"}, "rules": rules})
    binding = {
        "metadata": {"name": "approver"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "approver"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "ann"}],
    }
    await scene.admin("POST", f"{GROUP}/clusterrolebindings", binding)
    body = {"status": {"conditions": [{"type": "Approved", "status": "True", "reason": "r"}]}}
    for name, signer, code in (("ours", "example.com/any", 200), ("theirs", CLIENT, 403)):
        await scene.admin("POST", REQUESTS, csr(name, signerName=signer))
        answer = await scene.admin("PATCH", f"{REQUESTS}/{name}/approval", body, MERGE, Impersonate_User="ann")
        assert answer.code == code, answer.body
    assert f'user not permitted to approve requests with signerName "{CLIENT}"' in answer.body["message"]
