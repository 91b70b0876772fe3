"""The commands that run a process until it is told to stop: `app` and `worker`."""

# ruff: noqa: PLC0415 - what a process needs is imported when it starts, so that --help doesn't wait for it

from typing import TYPE_CHECKING, Annotated

import typer

from notification_service.entrypoints.cli.console import EXIT_CODES, CommandError, ExitCode, run
from notification_service.entrypoints.cli.version import Version

if TYPE_CHECKING:
    from notification_service.domain.channels import ChannelType

_api = typer.Typer(add_completion=False, rich_markup_mode=None)
_worker = typer.Typer(add_completion=False, rich_markup_mode=None)

STOPPING = (
    "SIGTERM or Ctrl-C stops it within NS_SHUTDOWN_SECONDS after finishing what is in flight; twice: at once."
)

Host = Annotated[str | None, typer.Option(help="Address to listen on (NS_HOST).")]
Port = Annotated[int | None, typer.Option(min=1, max=65535, help="Port (NS_PORT).")]


def app() -> None:
    """Run the API process."""
    run(_api, "app")


def worker() -> None:
    """Run a worker process."""
    run(_worker, "worker")


@_api.command(epilog=EXIT_CODES)
def _run_api(
    host: Host = None,
    port: Port = None,
    processes: Annotated[
        int | None, typer.Option(min=1, max=256, help="Processes behind the port (NS_API_PROCESSES).")
    ] = None,
    _version: Version = False,
) -> None:
    """Accept notifications over HTTP. Deliver them with `worker`, or run everything with `notify up`."""
    from notification_service.entrypoints.cli.configuration import configure_logging, settings_with
    from notification_service.entrypoints.cli.serving import run_api

    settings = settings_with(host=host, port=port, api_processes=processes)
    configure_logging(settings, "api")
    raise typer.Exit(run_api(settings))


@_worker.command(epilog=EXIT_CODES)
def _run_worker(
    channels: Annotated[
        str | None, typer.Option(help="Deliver only these, comma separated: email,push. Default: all.")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Deliveries in flight (NS_WORKER_CONCURRENCY).")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port of /health and /metrics, 0 = off (NS_WORKER_PORT)."),
    ] = None,
    relay_only: Annotated[
        bool,
        typer.Option(
            "--relay-only", help="Publish what is due and put right what got stuck; deliver nothing."
        ),
    ] = False,
    no_relay: Annotated[
        bool, typer.Option("--no-relay", help="Deliver only; another worker must do the rest.")
    ] = False,
    _version: Version = False,
) -> None:
    """Deliver what is due, publish what no queue holds, and put right what got stuck."""
    from notification_service.entrypoints.cli.configuration import configure_logging, settings_with

    wanted = parse_channels(channels)
    if relay_only and (no_relay or channels is not None):
        raise CommandError(
            "--relay-only delivers nothing: leave --no-relay and --channels out", ExitCode.USAGE
        )
    settings = settings_with(worker_concurrency=concurrency, worker_port=port)
    configure_logging(settings, "worker")
    from notification_service.application.worker import Duty
    from notification_service.entrypoints.worker import (
        run_worker,
    )  # half of the start: after what may refuse it

    duty = Duty.RELAY if relay_only else Duty.DELIVER if no_relay else Duty.ALL
    raise typer.Exit(run_worker(settings, channels=wanted, duty=duty))


def parse_channels(text: str | None) -> "frozenset[ChannelType] | None":
    """Read a comma separated list of channels; None stands for all."""
    from notification_service.domain.channels import CHANNEL_TYPES

    if text is None:
        return None
    wanted = {part.strip() for part in text.split(",") if part.strip()}
    unknown = sorted(wanted.difference(CHANNEL_TYPES))
    if unknown or not wanted:
        named = ", ".join(unknown) or "nothing"
        raise CommandError(f"no channel '{named}'; choose from {', '.join(CHANNEL_TYPES)}", ExitCode.USAGE)
    return frozenset(each for each in CHANNEL_TYPES if each in wanted)
