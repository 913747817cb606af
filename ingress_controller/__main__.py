"""`python -m ingress_controller`: HAProxy for the cluster's Ingresses."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from api.meta import Key
from ingress_controller.controller import Controller
from ingress_controller.haproxy import Place
from ingress_controller.processes import Haproxy
from machinery.certificates import Authority, Subject
from machinery.client import connect
from machinery.events import Recorder
from machinery.running import main, together

NAME = "ingress-controller"
# Who has no certificate of a site sees that this is none either.
OWN = "Kubernetes Ingress Controller Fake Certificate"


@dataclass(frozen=True, slots=True)
class Config:
    kubeconfig: Path
    place: Place
    published: Key | None
    verbosity: int = 0


def parse(arguments: Sequence[str] | None = None) -> Config:
    parser = argparse.ArgumentParser("ingress_controller", description="Programs HAProxy from Ingress objects.")
    add = parser.add_argument
    add("--kubeconfig", type=Path, required=True, help="how to reach the API server's gRPC door")
    add("--publish-service", default="", help="namespace/name of the Service in front, whose address Ingresses get")
    add("--bind-address", default="0.0.0.0")  # noqa: S104  that is what it is for
    add("--http-port", type=int, default=8080)
    add("--https-port", type=int, default=8443)
    add("--healthz-port", type=int, default=10254)
    add("--directory", default="/tmp/ingress", help="for HAProxy's files; keys are among them")  # noqa: S108
    add("-v", dest="verbosity", type=int, default=0)
    given = parser.parse_args(arguments)
    namespace, _, name = given.publish_service.partition("/")
    if given.publish_service and not name:
        parser.error("--publish-service: namespace/name")
    place = Place(given.directory, given.bind_address, given.http_port, given.https_port, given.healthz_port)
    return Config(given.kubeconfig, place, Key(namespace, name) if name else None, given.verbosity)


async def run(config: Config) -> None:
    pair = Authority.create(OWN).issue(Subject(OWN, (), ("ingress.local",)))
    haproxy = Haproxy(config.place, (pair.certificate + pair.key).decode())
    async with connect(config.kubeconfig) as client:
        recorder = Recorder(client, NAME)
        controller = Controller(client, haproxy, recorder, config.published)

        async def serve() -> None:
            await haproxy.started()
            await controller.run()

        await together(haproxy.run(), recorder.run(), *(i.run() for i in controller.informers), serve())


if __name__ == "__main__":
    config = parse()
    main(NAME, lambda: run(config), verbosity=config.verbosity)
