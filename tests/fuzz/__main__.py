"""`make fuzz`: send bad inputs to the API and look at every answer."""

import argparse
import asyncio
import signal
import sys

from tests.fuzz.run import run


def main() -> int:
    """Run as told; 0 when nothing was wrong, 1 when something was."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="what is generated (1)")
    parser.add_argument("--count", type=int, default=20_000, help="how many inputs (20000)")
    parser.add_argument("--database", help="an empty database, postgresql://…; SQLite in a folder of its own")
    options = parser.parse_args()
    report = asyncio.run(run(seed=options.seed, count=options.count, database=options.database))
    print(report.line())
    print(*report.complaints(), sep="\n", end="\n" if report.wrong else "")
    return 0 if report.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
