"""Which claims are prepared, on disk: a kubelet that comes back must undo what the one before it has done."""

from pathlib import Path

import msgspec

from machinery import pairs
from machinery.running import CannotGoOn


class Device(msgspec.Struct, frozen=True):
    """`requests` of the claim are those that it is for, none: all; `ids` are its names in the node's CDI files."""

    requests: tuple[str, ...]
    pool: str
    name: str
    ids: tuple[str, ...]
    share: str = ""


class Claim(msgspec.Struct):
    """`pods` are the uids of this node's that use it; `drivers` say what each has prepared."""

    namespace: str
    name: str
    uid: str
    drivers: dict[str, list[Device]]
    pods: set[str] = msgspec.field(default_factory=set)

    @property
    def key(self) -> tuple[str, str]:
        return self.namespace, self.name

    def ids(self, request: str) -> list[str]:
        """The CDI names of the devices of a request, "": of all."""
        devices = [device for driver in self.drivers.values() for device in driver]
        return [i for d in devices if not (request and d.requests) or request in d.requests for i in d.ids]


class Records:
    """The file.  It is whole at any moment."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[Claim]:
        """Raises CannotGoOn: nobody would undo what was prepared."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[Claim])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError) as e:
            raise CannotGoOn(f"{self._path} cannot be read; drain the node and remove it: {e}") from e

    def write(self, claims: list[Claim]) -> None:
        """Raises OSError."""
        pairs.replace(self._path, msgspec.json.encode(claims), 0o600)
