"""From objects to a site."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from api import meta
from api.meta import Key
from api.types import EndpointSlice, Ingress, IngressClass, Secret, Service
from ingress_controller.haproxy import certificate_files
from ingress_controller.sites import CONTROLLER, Complaint, Server, Site, World, is_ours, site
from machinery.certificates import Authority, Subject

PAIR = Authority.create("test").issue(Subject("shop", (), ("shop.example",)))
OTHER = Authority.create("test").issue(Subject("other", (), ("other.example",)))


def ingress(name: str = "web", created: str = "2026-01-01T00:00:00Z", **spec: Any) -> Ingress:
    told = {"metadata": {"name": name, "namespace": "shop", "creationTimestamp": created}, "spec": spec}
    return meta.decode(meta.encode(told), Ingress)


def path(path: str, kind: str = "Prefix", service: str = "web", port: Any = 80) -> dict[str, Any]:
    number = {"number": port} if isinstance(port, int) else {"name": port}
    return {"path": path, "pathType": kind, "backend": {"service": {"name": service, "port": number}}}


def rule(host: str, *paths: dict[str, Any]) -> dict[str, Any]:
    return {"host": host, "http": {"paths": [*paths]}}


def service(**spec: Any) -> Service:
    ports = [{"name": "http", "port": 80, "targetPort": 8080}, {"name": "admin", "port": 81}]
    return meta.decode(
        meta.encode({"metadata": {"name": "web", "namespace": "shop"}, "spec": {"ports": ports, **spec}}), Service
    )


def slice_(*addresses: str, ready: bool = True, port: str = "http", number: int = 8080) -> EndpointSlice:
    endpoints = [{"addresses": [a], "conditions": {"ready": ready}} for a in addresses]
    told = {
        "metadata": {"name": "s"},
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": port, "port": number}],
    }
    return meta.decode(meta.encode(told), EndpointSlice)


def secret(certificate: bytes, private: bytes) -> Secret:
    data = {n: base64.b64encode(v).decode() for n, v in (("tls.crt", certificate), ("tls.key", private))}
    return meta.decode(meta.encode({"metadata": {"name": "tls", "namespace": "shop"}, "data": data}), Secret)


def made(*ingresses: Ingress, **world: Any) -> Site:
    services = world.get("services", [service()])
    slices = world.get("slices", [slice_("10.0.0.1")])
    secrets = world.get("secrets", [])

    def found(objects: list[Any]) -> Any:
        return lambda wanted: next((o for o in objects if meta.key(o) == wanted), None)

    return site(ingresses, World(found(services), lambda _: slices, found(secrets)))


def test_the_longest_path_comes_first_and_an_exact_one_before_a_beginning() -> None:
    paths = [
        path("/"),
        path("/shop/"),
        path("/shop", "Exact"),
        path("/shop/cart"),
        path("/shoe", "ImplementationSpecific"),
    ]
    [host] = made(ingress(rules=[rule("a.example", *paths)])).hosts
    assert [(p.path, p.exact) for p in host.paths] == [
        ("/shop/cart", False), ("/shop", True), ("/shop", False), ("/shoe", False), ("/", False),
    ]  # fmt: skip


def test_names_come_before_wildcards_and_what_is_for_all_comes_last() -> None:
    hosts = ["", "*.example", "*.b.example", "A.b.example"]
    found = made(ingress(rules=[rule(h, path("/")) for h in hosts])).hosts
    assert [h.name for h in found] == ["a.b.example", "*.b.example", "*.example", ""]


def test_rules_of_several_ingresses_for_one_host_are_joined_and_the_older_one_has_its_path() -> None:
    young = ingress("a", "2026-01-02T00:00:00Z", rules=[rule("a.example", path("/x", service="new"), path("/y"))])
    old = ingress("b", "2026-01-01T00:00:00Z", rules=[rule("a.example", path("/x"))])
    [host] = made(young, old).hosts
    assert [(p.path, p.backend) for p in host.paths] == [("/x", "shop_web_80"), ("/y", "shop_web_80")]


def test_a_rule_without_paths_still_keeps_its_host_from_others() -> None:
    assert [h.name for h in made(ingress(rules=[{"host": "a.example"}])).hosts] == ["a.example"]


def test_a_port_is_found_by_number_and_by_name_and_leads_to_the_ready_endpoints() -> None:
    slices = [slice_("10.0.0.2", "10.0.0.1"), slice_("10.0.0.3", ready=False), slice_("10.0.0.4", port="admin")]
    found = made(ingress(rules=[rule("", path("/a"), path("/b", port="admin"))]), slices=slices)
    assert found.backends == {
        "shop_web_80": (Server("10.0.0.1", 8080), Server("10.0.0.2", 8080)),
        "shop_web_admin": (Server("10.0.0.4", 8080),),
    }


def test_an_address_with_leading_zeros_is_decimal_as_it_is_to_all_others() -> None:
    # HAProxy would read 10.0.0.9.
    found = made(ingress(rules=[rule("", path("/"))]), slices=[slice_("10.0.0.011")])
    assert found.backends == {"shop_web_80": (Server("10.0.0.11", 8080),)}


def test_the_default_backend_is_the_oldest_ingress_that_has_one() -> None:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    assert made(ingress(defaultBackend=backend)).default == "shop_web_80"
    assert made(ingress(rules=[rule("", path("/"))])).default == ""


def complaints(*ingresses: Ingress, **world: Any) -> list[tuple[str, str]]:
    found = made(*ingresses, **world).complaints
    assert all(c.about == Key("shop", "web") for c in found)
    return [(c.reason, c.message) for c in found]


def test_what_is_missing_is_complained_of_and_the_rest_is_served() -> None:
    rules = [rule("", path("/a", service="none"), path("/b", port=99), path("/c"))]
    found = made(ingress(rules=rules))
    assert [c.message for c in found.complaints] == [
        "Service 'shop/none' does not exist",
        "Service 'shop/web' has no port 99",
    ]
    assert found.backends["shop_none_80"] == ()
    assert found.backends["shop_web_80"] == (Server("10.0.0.1", 8080),)
    external = service(type="ExternalName", externalName="elsewhere.example")
    assert complaints(ingress(rules=[rule("", path("/"))]), services=[external])[0][0] == "Rejected"
    resource = {"path": "/", "pathType": "Prefix", "backend": {"resource": {"kind": "Bucket", "name": "b"}}}
    assert complaints(ingress(rules=[rule("", resource)])) == [("Rejected", "only Services can be backends")]


def test_a_path_that_means_something_in_the_configuration_is_refused() -> None:
    for evil in ("/x\n  default_backend evil", "}", "-f"):
        found = made(ingress(rules=[rule("", path(evil, "ImplementationSpecific"))]))
        assert [h.paths for h in found.hosts] == [()]
        assert found.complaints[0].reason == "Rejected"


def test_hosts_of_a_certificate_that_mean_something_in_the_list_are_refused() -> None:
    for hosts, served in (
        (["a.example\nown.pem", "!b.example", "*.c.example"], [("*.c.example",)]),
        (["[alpn h2]"], []),
    ):
        of = ingress(tls=[{"hosts": hosts, "secretName": "tls"}])
        found = made(of, secrets=[secret(PAIR.certificate, PAIR.key)])
        assert [c.hosts for c in found.certificates] == served
        assert found.complaints[0].reason == "Rejected"


def test_many_hosts_of_a_certificate_stand_in_several_lines() -> None:
    hosts = [f"{'a' * 60}.{n}.example" for n in range(3000)]
    of = ingress(tls=[{"hosts": hosts, "secretName": "tls"}])
    found = made(of, secrets=[secret(PAIR.certificate, PAIR.key)])
    assert [host for each in found.certificates for host in each.hosts] == hosts
    lines = certificate_files(found, "")["list"].splitlines()
    # What HAProxy reads of a line, and how many words.
    assert max(map(len, lines)) < 65536
    assert max(len(line.split()) for line in lines) < 2048


def test_a_certificate_is_for_its_hosts_and_only_with_its_own_key() -> None:
    of = ingress(tls=[{"hosts": ["Shop.example"], "secretName": "tls"}])
    found = made(of, secrets=[secret(PAIR.certificate, PAIR.key)])
    assert found.certificates[0].hosts == ("shop.example",)
    assert found.certificates[0].pem.count("BEGIN") >= 2
    for certificate, private in ((PAIR.certificate, OTHER.key), (b"x", PAIR.key), (PAIR.certificate, b"")):
        broken = made(of, secrets=[secret(certificate, private)])
        assert (broken.certificates, broken.complaints[0].reason) == ((), "SecretInvalid")
    assert made(of).complaints == (Complaint(Key("shop", "web"), "SecretNotFound", "Secret 'shop/tls' does not exist"),)


def certificate(private: Any, signer: Any = None) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop.example")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, private.public_key(), 1, start, start + timedelta(days=365))
    return builder.sign(signer or private, hashes.SHA256()).public_bytes(Encoding.PEM)


def key_of(private: Any, how: KeySerializationEncryption | None = None) -> bytes:
    written: bytes = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how or NoEncryption())
    return written


def test_a_certificate_that_the_proxy_would_refuse_is_complained_of_and_keeps_nobody_from_it() -> None:
    of = ingress(tls=[{"hosts": ["shop.example"], "secretName": "tls"}])
    good = rsa.generate_private_key(65537, 2048)
    small = rsa.generate_private_key(65537, 1024)  # noqa: S505  that is what is tried
    curve, other = ec.generate_private_key(ec.SECP192R1()), x25519.X25519PrivateKey.generate()
    for pem, private, words in (
        (certificate(good), key_of(good, BestAvailableEncryption(b"secret")), "encrypted"),
        (certificate(small), key_of(small), "key too small"),
        (certificate(good) + certificate(small), key_of(good), "key too small"),
        (certificate(curve), key_of(curve), "key too small"),
        (certificate(other, signer=good), key_of(other), "unknown certificate type"),
    ):
        found = made(of, secrets=[secret(pem, private)])
        assert (found.certificates, found.complaints[0].reason) == ((), "SecretInvalid")
        assert words in found.complaints[0].message


def test_nothing_that_stands_behind_a_key_comes_to_the_proxy() -> None:
    of = ingress(tls=[{"secretName": "tls"}])
    behind = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    found = made(of, secrets=[secret(PAIR.certificate, PAIR.key + behind)])
    assert found == made(of, secrets=[secret(PAIR.certificate, PAIR.key)])


def test_an_ingress_is_ours_by_its_class_alone() -> None:
    told = {"metadata": {"name": "haproxy"}, "spec": {"controller": CONTROLLER}}
    classes = [meta.decode(meta.encode(told), IngressClass)]
    annotated = ingress()
    annotated.metadata.annotations["kubernetes.io/ingress.class"] = "haproxy"
    assert is_ours(ingress(ingressClassName="haproxy"), classes)
    assert is_ours(annotated, classes)
    assert not is_ours(ingress(ingressClassName="nginx"), classes)
    assert not is_ours(ingress(), classes)
