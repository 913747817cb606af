"""Extenders in a KubeSchedulerConfiguration: read, and checked in upstream's words."""

import argparse
from collections.abc import Iterator, Sequence

from msgspec import Struct

from api.names import qualified_name_faults
from api.paths import Fault, Path, invalid
from machinery.flags import duration

DEFAULT_SECONDS = 5.0
NATIVE = "kubernetes.io/"


class TLSConfig(Struct, forbid_unknown_fields=True):
    """What ends in Data is base64, and outdoes the file of its name."""

    insecure: bool = False
    serverName: str = ""
    certFile: str = ""
    keyFile: str = ""
    caFile: str = ""
    certData: str = ""
    keyData: str = ""
    caData: str = ""


class ManagedResource(Struct, forbid_unknown_fields=True):
    name: str
    ignoredByScheduler: bool = False


class Extender(Struct, forbid_unknown_fields=True):
    urlPrefix: str
    filterVerb: str = ""
    preemptVerb: str = ""
    prioritizeVerb: str = ""
    weight: int = 0
    bindVerb: str = ""
    enableHTTPS: bool = False
    tlsConfig: TLSConfig | None = None
    httpTimeout: str = ""
    nodeCacheCapable: bool = False
    managedResources: list[ManagedResource] = []
    ignorable: bool = False

    @property
    def seconds(self) -> float:
        return duration(self.httpTimeout) if self.httpTimeout else DEFAULT_SECONDS


def faults(extenders: Sequence[Extender]) -> Iterator[Fault]:
    path, managed = Path("extenders"), set[str]()
    for at, extender in enumerate(extenders):
        here = path.index(at)
        if extender.prioritizeVerb and extender.weight <= 0:
            yield invalid(here.child("weight"), extender.weight, "must have a positive weight applied to it")
        try:
            extender.seconds  # noqa: B018
        except argparse.ArgumentTypeError as e:
            yield invalid(here.child("httpTimeout"), extender.httpTimeout, str(e))
        for number, resource in enumerate(extender.managedResources):
            name, where = resource.name, here.child("managedResources").index(number).child("name")
            whys = qualified_name_faults(name)
            yield from (invalid(where, name, why) for why in whys)
            if not whys and ("/" not in name or NATIVE in name):
                yield invalid(where, name, "is an invalid extended resource name")
            if name in managed:
                yield invalid(where, name, "duplicate extender managed resource name")
            managed.add(name)
    binders = sum(bool(extender.bindVerb) for extender in extenders)
    if binders > 1:
        yield invalid(path, f"found {binders} extenders implementing bind", "only one extender can implement bind")
