"""IP addresses as old objects may spell them."""

import re

_ZEROS = re.compile(r"(?<![0-9])0+(?=[0-9])")


def decimal(address: str) -> str:
    """Without the leading zeros that IPv4 addresses may have: 10.0.0.011 is 10.0.0.11, to everybody.

    Other programs take such numbers for octal ones (CVE-2021-29923), so that no address goes on as it is written.
    https://kubernetes.io/docs/reference/using-api/deprecation-guide/ does not forbid them yet.
    """
    return _ZEROS.sub("", address) if ":" not in address and "0" in address else address
