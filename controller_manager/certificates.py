"""What the controllers of certificate signing requests agree on.  Pure.

https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers
"""

import base64
from collections.abc import Collection, Mapping

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
FORMS: Mapping[str, type[x509.GeneralName]] = {
    "DNS": x509.DNSName, "Email": x509.RFC822Name, "IP": x509.IPAddress, "URI": x509.UniformResourceIdentifier,
}  # fmt: skip
"""Of the names that a certificate may have beside its subject's."""


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
    usages = request.spec.usages
    match request.spec.signerName:
        case "kubernetes.io/kube-apiserver-client":
            _check_client(usages)
        case "kubernetes.io/kube-apiserver-client-kubelet":
            check_kubelet_client(asked, usages)
        case "kubernetes.io/kubelet-serving":
            _check_kubelet_serving(asked, usages)


def _check_client(usages: Collection[str]) -> None:
    for usage in usages:
        if usage not in USUAL and usage != "client auth":
            raise Refused(f"invalid usage for client certificate: {usage}")
    if "client auth" not in usages:
        raise Refused("missing required usage for client certificate: client auth")


def check_kubelet_client(asked: x509.CertificateSigningRequest, usages: Collection[str]) -> None:
    """Raises Refused."""
    _check_organization(asked)
    _refuse_names(asked, "DNS", "Email", "IP", "URI")
    _check_common_name(asked)
    _check_usages(usages, "client auth")


def _check_kubelet_serving(asked: x509.CertificateSigningRequest, usages: Collection[str]) -> None:
    _check_organization(asked)
    if not any(isinstance(name, x509.DNSName | x509.IPAddress) for name in names_of(asked)):
        raise Refused("DNS or IP subjectAltName is required")
    _refuse_names(asked, "Email", "URI")
    _check_usages(usages, "server auth")
    _check_common_name(asked)


def _check_organization(asked: x509.CertificateSigningRequest) -> None:
    groups = [a.value for a in asked.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    if groups != [NODES]:
        raise Refused("subject organization is not system:nodes")


def _check_common_name(asked: x509.CertificateSigningRequest) -> None:
    if not common_name(asked).startswith(NODE_PREFIX):
        raise Refused("subject common name does not begin with system:node:")


def _refuse_names(asked: x509.CertificateSigningRequest, *refused: str) -> None:
    found = names_of(asked)
    for form in refused:
        if any(isinstance(name, FORMS[form]) for name in found):
            raise Refused(f"{form} subjectAltNames are not allowed")


def _check_usages(usages: Collection[str], purpose: str) -> None:
    if {*usages} - {"key encipherment"} != {"digital signature", purpose}:
        raise Refused(f"usages did not match [{' '.join(sorted({*USUAL, purpose}))}]")


def common_name(asked: x509.CertificateSigningRequest) -> str:
    return next((str(a.value) for a in asked.subject.get_attributes_for_oid(NameOID.COMMON_NAME)), "")


def names_of(asked: x509.CertificateSigningRequest) -> list[x509.GeneralName]:
    """Of the forms that signers know; others are as good as not asked for."""
    try:
        found = asked.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [name for name in found if type(name) in FORMS.values()]
