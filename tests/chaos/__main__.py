"""`make chaos`: break everything the service stands on, and count what was lost."""

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

from tests.chaos.brokers import BROKERS
from tests.chaos.hang import hang
from tests.chaos.plan import Plan
from tests.chaos.planted import PLANTS
from tests.chaos.report import Report
from tests.chaos.rolling import rolling
from tests.chaos.run import Scenario, chaos, run
from tests.chaos.sizes import SIZES, of_size, planted
from tests.chaos.verdict import NAMES

REPORTS = Path(__file__).parents[2] / ".cache" / "chaos"
SCENARIOS: dict[str, Scenario] = {"chaos": chaos, "rolling": rolling, "hang": hang}


def main() -> int:
    """Run as told; 0 when everything adds up, 1 when not."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    for client in ("aiokafka", "aio_pika", "aiormq"):  # that nobody answers yet is no news here
        logging.getLogger(client).setLevel(logging.CRITICAL)
    options = _options()
    if options.plant == "all":
        return _run_all_plants(options)
    report = asyncio.run(run(_plan(options), SCENARIOS[options.scenario], reports=options.report))
    _show(report)
    return 0 if report.is_good else 1


def _run_all_plants(options: argparse.Namespace) -> int:
    """Show which planted bugs are found; 0 when every one is."""
    missed = []
    for name in PLANTS:
        report = asyncio.run(run(planted(name, seed=options.seed), reports=options.report))
        found_by = [check for check in report.broken if check in NAMES]
        print(f"{name}: {'found by ' + ', '.join(found_by) if found_by else 'MISSED'}", flush=True)
        missed += [] if found_by else [name]
    return 1 if missed else 0


def _plan(options: argparse.Namespace) -> Plan:
    if options.plant:
        return planted(options.plant, seed=options.seed, healthy=options.healthy)
    size = options.scenario if options.scenario in SIZES else options.size
    given = {name: getattr(options, name) for name in ("accepts", "seconds", "kills")}
    changed = {name: value for name, value in given.items() if value is not None}
    return of_size(size, options.broker, seed=options.seed, **changed)


def _show(report: Report) -> None:
    print(report.line())
    print(*report.complaints(), sep="\n", end="\n" if report.broken else "")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("scenario", nargs="?", choices=SCENARIOS, default="chaos")
    parser.add_argument("--broker", choices=BROKERS, default="embedded")
    parser.add_argument("--seed", type=int, default=1, help="what is sent, and what fails when (1)")
    parser.add_argument("--accepts", type=int, help="how many notifications")
    parser.add_argument("--seconds", type=float, help="how long things fail")
    parser.add_argument("--kills", type=int, help="how often each kind of process is killed")
    size = parser.add_mutually_exclusive_group()
    for name in ("minute", "full"):
        size.add_argument(f"--{name}", dest="size", action="store_const", const=name)
    parser.add_argument(
        "--report",
        type=Path,
        default=REPORTS,
        metavar="FOLDER",
        help="for JSON reports and logs (.cache/chaos)",
    )
    parser.add_argument("--plant", choices=[*PLANTS, "all"], help="run with a bug: it has to be found")
    parser.add_argument("--healthy", action="store_true", help="with --plant: its run without its bug")
    parser.set_defaults(size="ordinary")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
