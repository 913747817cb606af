"""What the kept cluster has, beside a sample of every kind: workloads that run, custom objects, secrets, tokens."""

import base64
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from api import kinds
from tests.integration.conformance.conftest import Api
from tests.integration.conformance.test_lifecycles import STORED, collection, named
from tests.integration.processes import NODE

Tree = dict[str, Any]
SAMPLES, WORK = "conformance-kept", "work"
GROUP, PLURAL, VERSIONS = "boats.example.com", "boats", ("v1", "v1beta1")
KEY = "a2VwdCBmb3IgdGhlIHRlc3RzIG9mIHJlbGVhc2VzISE="
"""Thirty-two bytes that are nobody's secret."""
ENCRYPTION = f"""
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers: [{{aesgcm: {{keys: [{{name: kept, secret: {KEY}}}]}}}}, {{identity: {{}}}}]
"""
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
APPS = f"/apis/apps/v1/namespaces/{WORK}"
CORE = f"/api/v1/namespaces/{WORK}"
TOKEN = f"{CORE}/serviceaccounts/default/token"
FOREVER = 1 << 32
REPLICAS = 2


def boats() -> Tree:
    """A definition with two versions, of which the newer one is stored and has a default."""

    def version(name: str, spec: Tree, *, storage: bool) -> Tree:
        properties = {"spec": {"type": "object", "properties": spec}, "status": {"type": "object"}}
        schema = {"openAPIV3Schema": {"type": "object", "properties": properties}}
        return {"name": name, "served": True, "storage": storage, "schema": schema, "subresources": {"status": {}}}

    oars = {"type": "integer", "default": 2}
    versions = [version("v1", {"oars": oars, "name": {"type": "string"}}, storage=True),
                version("v1beta1", {"oars": {"type": "integer"}, "name": {"type": "string"}}, storage=False)]  # fmt: skip
    names = {"plural": PLURAL, "singular": "boat", "kind": "Boat"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": versions},
    }  # fmt: skip


def workload(name: str, **more: Any) -> Tree:
    labels = {"app": name}
    pod: Tree = {"containers": [{"name": "main", "image": "app:1"}], "terminationGracePeriodSeconds": 0}
    template = {"metadata": {"labels": labels}, "spec": pod}
    return {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": labels}, "template": template, **more}}


def store() -> Tree:
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    claims = [{"metadata": {"name": "data"}, "spec": claim}]
    made = workload("store", replicas=REPLICAS, serviceName="store", volumeClaimTemplates=claims)
    mounts = [{"name": "data", "mountPath": "/data"}]
    made["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = mounts
    return made


async def make(api: Api) -> None:
    """Returns when all of it stands as it shall."""
    for namespace in (SAMPLES, WORK):
        await api.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        await api.until(f"/api/v1/namespaces/{namespace}/serviceaccounts/default", bool)
    # A limit range refuses pods that say nothing of what it limits, so it comes last.
    for kind in sorted(STORED, key=lambda kind: kind.name == "LimitRange"):
        # Events of both groups stand in one place.
        number = 2 if kind.group == "events.k8s.io" else 1
        await api.create(collection(kind, SAMPLES), named(kind, SAMPLES, number))
    await _rare(api)
    await _custom(api)
    await _work(api)


async def _rare(api: Api) -> None:
    """Of the kinds that mean more than their words."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "jane")])
    asked = x509.CertificateSigningRequestBuilder().subject_name(subject)
    pem = asked.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    wanted = {"request": base64.b64encode(pem).decode(), "signerName": "kubernetes.io/kube-apiserver-client",
              "usages": ["client auth"]}  # fmt: skip
    body = {"metadata": {"name": "kept"}, "spec": wanted}
    await api.create("/apis/certificates.k8s.io/v1/certificatesigningrequests", body)
    service = {"name": "nobody", "namespace": SAMPLES}
    spec = {"group": "elsewhere.example.com", "version": "v1", "groupPriorityMinimum": 10, "versionPriority": 10,
            "service": service, "insecureSkipTLSVerify": True}  # fmt: skip
    body = {"metadata": {"name": "v1.elsewhere.example.com"}, "spec": spec}
    await api.create("/apis/apiregistration.k8s.io/v1/apiservices", body)


async def _custom(api: Api) -> None:
    await api.create(CRDS, boats())
    await api.until(f"{CRDS}/{PLURAL}.{GROUP}", _established)
    for version in VERSIONS:
        body = {"apiVersion": f"{GROUP}/{version}", "kind": "Boat", "metadata": {"name": f"of-{version}"},
                "spec": {"name": "Wherry"}}  # fmt: skip
        await api.create(f"/apis/{GROUP}/{version}/namespaces/{WORK}/{PLURAL}", body)


def _established(crd: Tree) -> bool:
    conditions = crd.get("status", {}).get("conditions", [])
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)


async def _work(api: Api) -> None:
    await api.create(f"{CORE}/secrets", {"metadata": {"name": "word"}, "stringData": {"word": "swordfish"}})
    lasting = {"name": "lasting", "annotations": {"kubernetes.io/service-account.name": "default"}}
    await api.create(f"{CORE}/secrets", {"metadata": lasting, "type": "kubernetes.io/service-account-token"})
    await api.create(f"{CORE}/services", {"metadata": {"name": "web"},
                     "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}})  # fmt: skip
    await api.create(f"{APPS}/deployments", workload("web", replicas=REPLICAS))
    await api.create(f"{APPS}/statefulsets", store())
    every = workload("every")
    every["spec"]["template"]["spec"]["nodeSelector"] = {"kubernetes.io/hostname": NODE}
    await api.create(f"{APPS}/daemonsets", every)
    job = {"template": {"spec": {"restartPolicy": "Never", "containers": [
        {"name": "main", "image": "app:1", "command": ["true"]}]}}}  # fmt: skip
    await api.create(f"/apis/batch/v1/namespaces/{WORK}/jobs", {"metadata": {"name": "once"}, "spec": job})
    for kind, name, ready in (("deployments", "web", 2), ("statefulsets", "store", 2)):
        await api.until(f"{APPS}/{kind}/{name}", lambda obj, n=ready: obj["status"].get("availableReplicas") == n)
    await api.until(f"{APPS}/daemonsets/every", lambda obj: obj["status"].get("numberAvailable") == 1)
    await api.until(f"/apis/batch/v1/namespaces/{WORK}/jobs/once", lambda obj: obj["status"].get("succeeded") == 1)
    await api.until(f"{CORE}/secrets/lasting", lambda obj: "token" in obj["data"])


async def token(api: Api) -> str:
    """One that lasts."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": FOREVER}}
    issued: str = (await api.create(TOKEN, body))["status"]["token"]
    return issued


async def everything(api: Api) -> dict[str, Tree]:
    """Every list that the API serves of what is stored, built-in and custom, in each version: path → list."""
    found = [collection(kind) for kind in kinds.BUILT_IN if {"list", "create"} <= set(kind.verbs)]
    found += [f"/apis/{GROUP}/{version}/{PLURAL}" for version in VERSIONS]
    return {path: await api.get(path) for path in found}
