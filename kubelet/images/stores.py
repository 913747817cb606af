"""What the images of all pods of a node have in common."""

from dataclasses import dataclass
from pathlib import Path

from kubelet.images.pulling import Puller
from kubelet.images.records import POLICIES, Records
from kubelet.images.users import Users


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """`root` may hold the node's own logins; `policy` says whose access to an image that is there is verified."""

    puller: Puller
    records: Records
    users: Users
    root: Path
    policy: str = POLICIES[0]
