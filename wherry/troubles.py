"""What goes wrong in the lab, told to a person: which part, why, its last words, and what to do about it."""

from dataclasses import dataclass


@dataclass
class Trouble(Exception):
    """Ends the command. `said` are the last lines that the failed part wrote; `advice` is one sentence."""

    part: str
    reason: str
    said: str = ""
    advice: str = ""

    def __str__(self) -> str:
        lines = [f"{self.part}: {self.reason}"]
        lines += [f"  | {line}" for line in self.said.strip().splitlines()[-20:]]
        if self.advice:
            lines.append(f"What to do: {self.advice}")
        return "\n".join(lines)
