"""`scripts/chaos --minutes N [--seed S]`: a lab of its own is broken for so long, and the outcome is told as a table."""

import argparse
import asyncio
import random
import sys

from tests.chaos.faults import plan
from tests.chaos.labs import broken_lab
from tests.chaos.storms import storm, table
from wherry.troubles import Trouble


def main() -> int:
    """An exit code: 0 if every check holds."""
    parser = argparse.ArgumentParser(prog="scripts/chaos", description="Break a lab on purpose and check what it did.")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="the same faults again")
    told = parser.parse_args()
    print(f"seed {told.seed}", flush=True)
    try:
        with broken_lab() as (lab, docker_engine):
            outcome = asyncio.run(storm(lab, docker_engine, told.seed, plan(told.seed), told.minutes * 60))
    except Trouble as trouble:
        print(trouble, file=sys.stderr)
        return 1
    print(f"\n{table(outcome)}")
    return 0 if outcome.holds else 1


if __name__ == "__main__":
    sys.exit(main())
