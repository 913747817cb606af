"""Which images kubelets have pulled, and with whose logins: an image that one pod's secret opened is not everybody's.
https://kubernetes.io/docs/concepts/containers/images/#ensureimagepullcredentialverification

Files of upstream's form, since the engine has no place for this.  Nodes that share an engine share them, for what they
say is about its images: another node's pods are strangers too.  Nothing is lost with them but the knowledge: an image
without a record counts as one that was on the machine before, which is everybody's and is never removed.
"""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from api import times
from kubelet.images.credentials import Holder, Key

POLICIES = ("NeverVerifyPreloadedImages", "NeverVerify", "AlwaysVerify")
# The most secrets that are noted beside the one that pulled: namespaces come and go, and the file is read often.
MOST_SECRETS = 100


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use an image under one name: every pod, or those with one of these secrets (holder → login's digest)."""

    everybody: bool = False
    secrets: dict[Holder, str] = field(default_factory=dict)

    def admits(self, keys: Iterable[Key]) -> bool:
        """A secret that was changed is still the one that opened the image, and a login is the same in any secret."""
        digests = {d for d in self.secrets.values() if d}
        return self.everybody or any(k.holder and (k.holder in self.secrets or k.digest in digests) for k in keys)

    def joined(self, key: Key | None) -> "Access":
        """With what was shown in a pull that went well; None was nothing."""
        if self.everybody or key is None or key.holder is None:
            return Access(True, self.secrets)
        if len(self.secrets) >= MOST_SECRETS and key.holder not in self.secrets:
            return self
        return Access(False, self.secrets | {key.holder: key.digest})


class _Secret(msgspec.Struct, omit_defaults=True):
    uid: str = ""
    namespace: str = ""
    name: str = ""
    credentialHash: str = ""


class _Credentials(msgspec.Struct, omit_defaults=True):
    kubernetesSecrets: list[_Secret] = []
    nodePodsAccessible: bool = False


class _Pulled(msgspec.Struct):
    lastUpdatedTime: str
    imageRef: str
    credentialMapping: dict[str, _Credentials]
    kind: str = "ImagePulledRecord"
    apiVersion: str = "kubelet.config.k8s.io/v1beta1"


class Records:
    """By image id, and in each by repository."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "pulled"

    def of(self, image_id: str) -> dict[str, Access] | None:
        """None if no kubelet pulled it.  A record that cannot be read admits nobody."""
        try:
            data = self._path(image_id).read_bytes()
        except FileNotFoundError:
            return None
        try:
            found = msgspec.json.decode(data, type=_Pulled).credentialMapping
        except msgspec.DecodeError:
            return {}
        return {name: _access(credentials) for name, credentials in found.items()}

    def add(self, image_id: str, repository: str, key: Key | None, now: float) -> None:
        """It was pulled by that name, with that key."""
        known = self.of(image_id) or {}
        access = known.get(repository, Access()).joined(key)
        if known.get(repository) == access:
            return
        credentials = {name: _credentials(a) for name, a in (known | {repository: access}).items()}
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(image_id)
        # Another kubelet may be reading it, or writing its own: each file is whole, and the last one stands.
        new = path.with_suffix(f".{os.getpid()}")
        new.touch(mode=0o600)  # from a digest a weak password can be guessed
        new.write_bytes(msgspec.json.encode(_Pulled(times.format(now), image_id, credentials)))
        new.rename(path)

    def forget(self, image_id: str) -> None:
        self._path(image_id).unlink(missing_ok=True)

    def _path(self, image_id: str) -> Path:
        return self._directory / f"sha256-{hashlib.sha256(image_id.encode()).hexdigest()}"


def must_verify(policy: str, pulled: bool) -> bool:
    """Whether a pod must prove that it may use an image that is there; `pulled`: by a kubelet."""
    return policy == "AlwaysVerify" or (pulled and policy != "NeverVerify")


def _access(found: _Credentials) -> Access:
    secrets = {Holder(s.uid, s.namespace, s.name): s.credentialHash for s in found.kubernetesSecrets}
    return Access(found.nodePodsAccessible, secrets)


def _credentials(access: Access) -> _Credentials:
    if access.everybody:
        return _Credentials(nodePodsAccessible=True)
    secrets = [_Secret(h.uid, h.namespace, h.name, digest) for h, digest in access.secrets.items()]
    return _Credentials(kubernetesSecrets=secrets)
