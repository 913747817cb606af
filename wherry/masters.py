"""A lab with several of each part of the control plane, made from the one of each that compose.yaml has. Pure.

Three etcd members, three API servers, two controller managers, two schedulers, and a balancer in front of them, which
publishes the ports. Copies stand under the next address and share their first one's certificates, as compose.yaml says.
"""

from typing import Any

Document = dict[str, Any]
SEVERAL = {"etcd": 3, "apiserver": 3, "controller-manager": 2, "scheduler": 2}
BALANCER = "balancer"
FIRST_ADDRESS = {"etcd": 10, "apiserver": 20, "controller-manager": 30, "scheduler": 40}


def names(part: str) -> list[str]:
    """etcd, etcd1, etcd2."""
    return [part, *(f"{part}{n}" for n in range(1, SEVERAL[part]))]


def several(document: Document) -> Document:
    """The same lab with all of `SEVERAL`."""
    services: Document = {}
    published: list[str] = []
    for name, service in document["services"].items():
        if name not in SEVERAL:
            services[name] = service
            continue
        published += service.get("ports", [])
        for number, copy in enumerate(names(name)):
            services[copy] = _copy(service, name, copy, number)
    services[BALANCER] = {**document["x-balancer"], "ports": published}
    volumes = dict.fromkeys([*document["volumes"], *names("etcd")])
    return {**document, "services": services, "volumes": volumes}


def _copy(service: Document, part: str, name: str, number: int) -> Document:
    renamed = {
        f"--name={part}": f"--name={name}",
        "--advertise-client-urls=https://etcd:": f"--advertise-client-urls=https://{name}:",
        "--initial-advertise-peer-urls=https://etcd:": f"--initial-advertise-peer-urls=https://{name}:",
        f"--leader-elect-identity={part}": f"--leader-elect-identity={name}",
        "etcd:/var/lib/etcd": f"{name}:/var/lib/etcd",
        f"}}.{FIRST_ADDRESS[part]}": f"}}.{FIRST_ADDRESS[part] + number}",
        "--initial-cluster=etcd=https://etcd:2380": "--initial-cluster="
        + ",".join(f"{each}=https://{each}:2380" for each in names("etcd")),
        "--etcd-servers=https://etcd:2379": "--etcd-servers="
        + ",".join(f"https://{each}:2379" for each in names("etcd")),
    }
    copy: Document = _replaced({k: v for k, v in service.items() if k != "ports"}, renamed)
    if part == "apiserver":
        # The other components ask for `apiserver`, and are told of all of them.
        copy["networks"]["lab"]["aliases"] = ["apiserver"]
        # The balancer looks every half second, and the others hear of it sooner.
        copy["command"] = [*copy["command"], "--shutdown-delay-duration=1s"]
    return copy


def _replaced(value: Any, pieces: dict[str, str]) -> Any:
    if isinstance(value, str):
        for old, new in pieces.items():
            if old in value:
                value = value.replace(old, new)
        return value
    if isinstance(value, list):
        return [_replaced(item, pieces) for item in value]
    if isinstance(value, dict):
        return {key: _replaced(item, pieces) for key, item in value.items()}
    return value
