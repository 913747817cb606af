"""What the tests need of a machine, beyond Python: `python -m wherry.preparing`."""

import sys

from wherry import bringing_up, packages
from wherry.progress import Progress
from wherry.troubles import Trouble

# A real etcd for the storage's tests, the kernel's tools and real plug-ins for the network's, the ingress' proxy.
PACKAGES = ("etcd-server", "libnftables1", "iproute2", "containernetworking-plugins", "haproxy")


def main() -> int:
    try:
        with Progress() as progress:
            with progress.step(f"packages {' '.join(PACKAGES)}"):
                packages.install(PACKAGES)
            bringing_up.prepare(progress)
    except Trouble as trouble:
        print(trouble, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
