"""`make crash-test`: kill the service again and again and count what was lost."""

import argparse
import asyncio
import json
import signal
import sys
from dataclasses import replace
from pathlib import Path

from tests.crash.plan import Plan
from tests.crash.planted import PLANTS
from tests.crash.run import Report, run


def main() -> int:
    """Run as told; 0 when everything adds up, 1 when not."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    options = _options()
    plan = Plan(
        seed=options.seed,
        accepts=options.accepts or (500 if options.quick else 5_000),
        kills=options.kills or (2 if options.quick else 10),
        database=options.database,
    )
    if options.plant == "all":
        return _run_all_plants(plan)
    report = asyncio.run(run(replace(plan, plant=options.plant)))
    _show(report, options.json)
    return 0 if report.is_good else 1


def _run_all_plants(plan: Plan) -> int:
    """Show which planted bugs are found; 0 when every one is."""
    missed = []
    for name in PLANTS:
        report = asyncio.run(run(replace(plan, plant=name)))
        print(f"{name}: {'MISSED' if report.is_good else 'found by ' + ', '.join(report.broken)}", flush=True)
        missed += [name] if report.is_good else []
    return 1 if missed else 0


def _show(report: Report, file: Path | None) -> None:
    print(report.line())
    print(*report.complaints(), sep="\n", end="\n" if report.broken else "")
    if file:
        file.write_text(json.dumps(report.as_json(), indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="what is sent, and after how many it dies")
    parser.add_argument("--accepts", type=int, help="how many notifications (5000)")
    parser.add_argument("--kills", type=int, help="how often the service is killed (10)")
    parser.add_argument("--quick", action="store_true", help="500 notifications, 2 kills")
    parser.add_argument("--database", help="an empty database, postgresql://…; SQLite in a folder of its own")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--plant", choices=[*PLANTS, "all"], help="run with a bug: it has to be found")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
