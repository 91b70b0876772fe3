"""`make load-test`: accept from many clients at once, deliver everything, and count."""

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

from tests.load.run import Plan, Report, run
from tests.services import OutOfReachError, stop_all
from tests.services.postgres import SERVICE


def main() -> int:
    """Run as told; 0 when everything adds up, 1 when not."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    options = _options()
    plan = Plan(accepts=options.accepts, clients=options.clients, workers=options.workers)
    try:
        with SERVICE.find().database() as database:
            report = asyncio.run(run(plan, database))
    except OutOfReachError as error:
        print(f"PostgreSQL is out of reach ({error}). {SERVICE.how_to_get}", file=sys.stderr)
        return 1
    finally:
        stop_all()
    _show(report, options.json)
    return 0 if report.is_good else 1


def _show(report: Report, file: Path | None) -> None:
    print(report.line())
    print(*(f"  {wrong}" for wrong in report.wrong), sep="\n", end="\n" if report.wrong else "")
    if file:
        file.write_text(json.dumps(report.as_json(), indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument("--accepts", type=int, default=20_000, help="how many notifications (20000)")
    parser.add_argument("--clients", type=int, default=500, help="how many clients at once (500)")
    parser.add_argument("--workers", type=int, default=1, help="how many worker processes (1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
