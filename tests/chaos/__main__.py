"""`scripts/chaos --minutes N [--seed S]`: a lab of its own is broken for so long, and the outcome is told as a table."""

import argparse
import asyncio
import random
import sys

from tests.chaos.faults.plans import plan
from tests.chaos.labs import broken_lab, keep_logs
from tests.chaos.outcomes import Outcome, table
from tests.chaos.storms import storm
from wherry.labs import PROJECT
from wherry.troubles import Trouble


def main() -> int:
    """An exit code: 0 if every check holds."""
    parser = argparse.ArgumentParser(prog="scripts/chaos", description="Break a lab on purpose and check what it did.")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="the same faults again")
    told = parser.parse_args()
    file = PROJECT / "build" / "chaos" / f"seed-{told.seed}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    print(f"seed {told.seed}; the table so far is {file.relative_to(PROJECT)}", flush=True)

    def tell(outcome: Outcome) -> None:
        file.write_text(f"{table(outcome)}\n\n{chr(10).join(map(str, outcome.struck))}\n")

    outcome: Outcome | None = None
    try:
        with broken_lab() as (lab, docker_engine):
            try:
                outcome = asyncio.run(storm(lab, docker_engine, told.seed, plan(told.seed), told.minutes * 60, tell))
            finally:
                if outcome is None or not outcome.holds:
                    keep_logs(lab, docker_engine, file.with_suffix(".logs"))
    except Trouble as trouble:
        print(trouble, file=sys.stderr)
        return 1
    print(f"\n{table(outcome)}")
    return 0 if outcome.holds else 1


if __name__ == "__main__":
    sys.exit(main())
