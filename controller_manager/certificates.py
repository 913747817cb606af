"""What the controllers of certificate signing requests agree on.  Pure.

https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers
"""

import base64
from collections.abc import Iterable

from cryptography import x509
from cryptography.x509.oid import NameOID

from api import meta
from api.types import CertificateSigningRequest

CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
LEGACY = "kubernetes.io/legacy-unknown"
SIGNERS = (CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY)
NODES, NODE_PREFIX = "system:nodes", "system:node:"
USUAL = frozenset({"digital signature", "key encipherment"})
"""RSA keys need the second one, others have no use for it."""


class Refused(Exception):
    """Why a signer does not sign a request."""


def is_approved(request: CertificateSigningRequest) -> bool:
    return meta.is_true(request, "Approved") and not meta.is_true(request, "Denied")


def is_failed(request: CertificateSigningRequest) -> bool:
    return meta.is_true(request, "Failed")


def parse(request: CertificateSigningRequest) -> x509.CertificateSigningRequest:
    """Raises Refused."""
    try:
        found = x509.load_pem_x509_csr(base64.b64decode(request.spec.request))
    except ValueError as e:
        raise Refused(f"unable to parse csr: {e}") from e
    if not found.is_signature_valid:
        raise Refused("unable to parse csr: the signature of the request is not valid")
    return found


def check(request: CertificateSigningRequest, asked: x509.CertificateSigningRequest) -> None:
    """Whether the signer that the request names may sign such a one.  Raises Refused."""
    usages = set(request.spec.usages)
    match request.spec.signerName:
        case "kubernetes.io/kube-apiserver-client":
            if "client auth" not in usages or not usages <= USUAL | {"client auth"}:
                raise Refused(f"invalid usages for client certificate: {sorted(usages)}")
        case "kubernetes.io/kube-apiserver-client-kubelet":
            check_kubelet_client(asked, usages)
        case "kubernetes.io/kubelet-serving":
            _check_kubelet_serving(asked, usages)


def check_kubelet_client(asked: x509.CertificateSigningRequest, usages: Iterable[str]) -> None:
    """Raises Refused."""
    _check_node(asked)
    if names_of(asked):
        raise Refused("DNS, IP, email and URI subjectAltNames are not allowed")
    _check_usages(usages, "client auth")


def _check_kubelet_serving(asked: x509.CertificateSigningRequest, usages: Iterable[str]) -> None:
    _check_node(asked)
    found = names_of(asked)
    if not any(isinstance(n, x509.DNSName | x509.IPAddress) for n in found):
        raise Refused("DNS or IP subjectAltName is required")
    if any(not isinstance(n, x509.DNSName | x509.IPAddress) for n in found):
        raise Refused("email and URI subjectAltNames are not allowed")
    _check_usages(usages, "server auth")


def _check_node(asked: x509.CertificateSigningRequest) -> None:
    groups = [a.value for a in asked.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    if groups != [NODES]:
        raise Refused("subject organization is not system:nodes")
    if not common_name(asked).startswith(NODE_PREFIX):
        raise Refused("subject common name does not begin with system:node:")


def _check_usages(usages: Iterable[str], purpose: str) -> None:
    if {*usages} - {"key encipherment"} != {"digital signature", purpose}:
        raise Refused(f"usages did not match {['digital signature', 'key encipherment', purpose]}")


def common_name(asked: x509.CertificateSigningRequest) -> str:
    return next((str(a.value) for a in asked.subject.get_attributes_for_oid(NameOID.COMMON_NAME)), "")


def names_of(asked: x509.CertificateSigningRequest) -> list[x509.GeneralName]:
    try:
        return list(asked.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []
