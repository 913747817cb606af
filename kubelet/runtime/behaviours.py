"""What a simulated container does beside its command, as its pod's annotations say: for trying out what can go wrong.

simulated.wherry.io/behaviour: never-ready             for every container of the pod
simulated.wherry.io/behaviour.web: exit=3@5; cpu=250m  for the container `web` instead

create-error=WORDS, start-error=WORDS   the engine refuses with these words
start=SECONDS                           how long its start takes
exit=CODE@SECONDS, oom@SECONDS          how it ends, so long after its start
never-ready                             every probe and every command inside fails
cpu=AMOUNT, memory=AMOUNT, disk=AMOUNT  what it uses, in Kubernetes' quantities
"""

from collections.abc import Mapping
from dataclasses import dataclass

from api import quantities

ANNOTATION = "simulated.wherry.io/behaviour"
OOM_CODE = 137


class Misspelt(ValueError):
    """The annotation cannot be understood."""


@dataclass(frozen=True, slots=True)
class End:
    after: float
    code: int
    out_of_memory: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    create_error: str = ""
    start_error: str = ""
    start: float | None = None  # seconds; None as every other start
    end: End | None = None
    never_ready: bool = False
    cpu: float = 0.001  # cores
    memory: int = 1_000_000  # bytes
    disk: int = 0  # bytes


def of(annotations: Mapping[str, str], container: str) -> Behaviour:
    """Raises Misspelt."""
    return parse(annotations.get(f"{ANNOTATION}.{container}", annotations.get(ANNOTATION, "")))


def parse(text: str) -> Behaviour:
    """Raises Misspelt."""
    found: dict[str, object] = {}
    for part in filter(None, map(str.strip, text.split(";"))):
        try:
            field, value = _read(part)
        except ValueError as e:
            raise Misspelt(f"the simulated runtime does not understand {part!r}") from e
        found[field] = value
    return Behaviour(**found)  # type: ignore[arg-type]


def _read(part: str) -> tuple[str, object]:
    word, _, value = part.partition("=")
    match word:
        case "create-error" | "start-error" if value:
            return word.replace("-", "_"), value
        case "start":
            return "start", float(value)
        case "exit":
            code, _, after = value.partition("@")
            return "end", End(float(after or 0), int(code))
        case "never-ready" if not value:
            return "never_ready", True
        case "cpu":
            return "cpu", float(quantities.parse(value))
        case "memory" | "disk":
            return word, quantities.value(value)
        case _ if word.startswith("oom@"):
            return "end", End(float(word.removeprefix("oom@")), OOM_CODE, True)
    raise ValueError(part)
