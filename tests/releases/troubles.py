"""What components have logged as errors, and what nobody has caught."""

import re

LINE = re.compile(r"^(\S+ [EC] |[EF]\d{4} |Traceback ).*", re.MULTILINE)
"""Of a component, of the gRPC library, of Python."""


def troubles(log: str) -> list[str]:
    return [found[0] for found in LINE.finditer(log)]
