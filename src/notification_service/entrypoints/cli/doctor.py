"""`notify doctor`: what is configured, what of it works, and what to do about the rest."""

# ruff: noqa: PLC0415 - imported when needed, so that --help doesn't wait for it

from typing import TYPE_CHECKING, Annotated, Any

import typer

from notification_service.entrypoints.cli.console import (
    EXIT_CODES,
    AsJson,
    ExitCode,
    print_json,
    print_rich,
    print_rows,
)

if TYPE_CHECKING:
    from notification_service.entrypoints.cli.checks import Check
    from notification_service.settings import Settings

commands = typer.Typer()

MARKS = {"ok": "green", "warning": "yellow", "broken": "bold red"}


@commands.command(epilog=EXIT_CODES)
def doctor(
    everything: Annotated[
        bool, typer.Option("--all", help="Show every setting, those at their default too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check the configuration and every part.

    Says what to do about what is broken, and exits with 1 then.
    """
    from notification_service.entrypoints.cli.checks import examine
    from notification_service.entrypoints.cli.configuration import settings_with

    settings = settings_with()
    checks = examine(settings)
    if as_json:
        print_json({"settings": _settings(settings, everything=True), "checks": list(map(_as_data, checks))})
    else:
        _show_settings(settings, everything=everything)
        _show(checks)
    if any(check.state == "broken" for check in checks):
        raise typer.Exit(ExitCode.FAILED)


def _settings(settings: "Settings", *, everything: bool) -> list[dict[str, str]]:
    from notification_service.settings import describe

    return [
        {"name": line.name, "value": line.value, "source": line.source}
        for line in describe(settings)
        if everything or line.source != "default"
    ]


def _show_settings(settings: "Settings", *, everything: bool) -> None:
    rows = [
        (line["name"], line["value"], line["source"]) for line in _settings(settings, everything=everything)
    ]
    print_rows(
        ("setting", "value", "from"), rows, nothing="every setting is at its default (--all shows them)"
    )
    typer.echo()


def _show(checks: "list[Check]") -> None:
    from rich.text import Text

    width = max(len(check.name) for check in checks)
    for check in checks:
        line = Text()
        line.append(f"{check.state:<8}", style=MARKS[check.state])
        line.append(f"{check.name:<{width}}  {check.detail}")
        if check.remedy:
            line.append(f" -> {check.remedy}", style="bold")
        print_rich(line)


def _as_data(check: "Check") -> dict[str, Any]:
    return {"name": check.name, "state": check.state, "detail": check.detail, "remedy": check.remedy}
