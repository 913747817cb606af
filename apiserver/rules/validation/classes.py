"""Classes that others name: IngressClass, RuntimeClass and DeviceClass."""

import re

from api import names, quantities
from api.paths import Path, invalid, required
from api.types import DeviceClass, DeviceClassConfiguration, DeviceClassSpec, IngressClass, RuntimeClass
from apiserver.rules.validation.devices import MOST_CONFIGS, each, opaque, selectors
from apiserver.rules.validation.resources import is_extended
from apiserver.rules.validation.values import Faults, formed, immutable, one_of

SPEC = Path("spec")
LONGEST_CONTROLLER = 250
PATH = re.compile(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+")


def ingress_class(it: IngressClass) -> Faults:
    controller, at = it.spec.controller, SPEC.child("controller")
    if len(controller) > LONGEST_CONTROLLER:
        yield invalid(at, controller, f"may not be more than {LONGEST_CONTROLLER} bytes")
    if controller:
        yield from _domain_path(at, controller)
    parameters, place = it.spec.parameters, SPEC.child("parameters")
    if parameters is None:
        return
    for name in ("kind", "name"):
        if not getattr(parameters, name):
            yield required(place.child(name))
    yield from one_of(place.child("scope"), parameters.scope, ("Cluster", "Namespace"))
    if parameters.scope == "Namespace" and not parameters.namespace:
        yield required(place.child("namespace"), "`parameters.scope` is set to 'Namespace'")


def _domain_path(at: Path, value: str) -> Faults:
    domain, slash, path = value.partition("/")
    if not slash or not domain or not path:
        yield invalid(at, value, 'must be a domain-prefixed path (such as "acme.io/foo")')
        return
    for why in names.dns_subdomain_faults(domain):
        yield invalid(at, domain, why)
    if not PATH.fullmatch(path):
        yield invalid(at, path, f"Invalid path (regex used for validation is '{PATH.pattern}')")


def ingress_class_updated(new: IngressClass, old: IngressClass) -> Faults:
    yield from immutable(SPEC.child("controller"), new.spec.controller, old.spec.controller)
    yield from ingress_class(new)


def runtime_class(it: RuntimeClass) -> Faults:
    yield from formed(Path("handler"), it.handler, names.dns_label_faults)
    for name, amount in (it.overhead.podFixed if it.overhead is not None else {}).items():
        if quantities.parse(amount) < 0:
            at = Path("overhead").child("podFixed").key(name)
            yield invalid(at, amount, "must be greater than or equal to 0")


def runtime_class_updated(new: RuntimeClass, old: RuntimeClass) -> Faults:
    yield from runtime_class(new)
    yield from immutable(Path("handler"), new.handler, old.handler)


def device_class(it: DeviceClass) -> Faults:
    yield from _device_class(it.spec, None)


def device_class_updated(new: DeviceClass, old: DeviceClass) -> Faults:
    yield from _device_class(new.spec, old.spec)


def _device_class(spec: DeviceClassSpec, old: DeviceClassSpec | None) -> Faults:
    """What is as it was is good: the rules for selectors and parameters may become stricter."""
    yield from selectors(
        SPEC.child("selectors"), spec.selectors, stored=old is not None and old.selectors == spec.selectors
    )
    stored = old is not None and old.config == spec.config

    def config(at: Path, it: DeviceClassConfiguration) -> Faults:
        yield from opaque(at.child("opaque"), it.opaque, stored=stored)

    yield from each(SPEC.child("config"), spec.config, MOST_CONFIGS, config)
    if spec.extendedResourceName and not is_extended(spec.extendedResourceName):
        at = SPEC.child("extendedResourceName")
        yield invalid(at, spec.extendedResourceName, "must be a valid extended resource name")
