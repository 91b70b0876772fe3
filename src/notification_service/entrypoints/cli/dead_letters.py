"""`notify dead-letters` and `notify redrive`: what could not be delivered, and another try."""

# ruff: noqa: PLC0415 - imported when needed, so that --help doesn't wait for it

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from notification_service.entrypoints.cli.console import (
    EXIT_CODES,
    AsJson,
    CommandError,
    ExitCode,
    note,
    print_json,
    print_rows,
    when,
)
from notification_service.entrypoints.cli.options import ChannelName, Token, Url, moment

if TYPE_CHECKING:
    from notification_service.entrypoints.cli.client import Client

commands = typer.Typer()

AT_ONCE = 1_000
"""Redriven by one request."""
COUNTED = 1_000
"""Counted for the question whether to go on; beyond it says «more than»."""

ReasonName = Annotated[str | None, typer.Option("--reason", help="Only those that died of this.")]
Since = Annotated[str | None, typer.Option(help="Only from then on: a time, or a distance back like 2h.")]
Until = Annotated[str | None, typer.Option(help="Only until then.")]


@commands.command("dead-letters", epilog=EXIT_CODES)
def dead_letters(
    *,
    reason: ReasonName = None,
    channel: ChannelName = None,
    since: Since = None,
    until: Until = None,
    redriven: Annotated[bool, typer.Option("--redriven", help="Those that were redriven, instead.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = 50,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """List what could not be delivered."""
    from notification_service.entrypoints.cli.client import client

    where = _filter(reason, channel, since, until)
    with client(url, token) as server:
        redriven_only = "true" if redriven else None
        found = list(server.pages("/v1/dead-letters", most=limit, redriven=redriven_only, **where))
    if as_json:
        print_json(found)
        return
    columns = ("id", "died", "channel", "user", "reason", "attempts", "detail")
    print_rows(columns, map(_row, found), nothing="no dead letters")


@commands.command(epilog=EXIT_CODES)
def redrive(
    *,
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Dead letters.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that match the filters.")] = False,
    reason: ReasonName = None,
    channel: ChannelName = None,
    since: Since = None,
    until: Until = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Give dead letters another try.

    Each with a fresh budget of attempts. At a terminal --all asks first.
    """
    from notification_service.entrypoints.cli.client import client

    where = _filter(reason, channel, since, until)
    if bool(ids) == everything or (ids and where):
        raise CommandError("name dead letters by their ids, or say --all with filters", ExitCode.USAGE)
    with client(url, token) as server:
        if everything:
            _ask_first(server, where, yes=yes)
            count = _redrive_all(server, where)
        else:
            count = len([server.post(f"/v1/dead-letters/{each}/redrive") for each in ids or ()])
    if as_json:
        print_json({"redriven": count})
    else:
        typer.echo(f"redriven: {count}")


def _filter(reason: str | None, channel: str | None, since: str | None, until: str | None) -> dict[str, str]:
    now = datetime.now(UTC)
    where = {
        "reason": reason,
        "channel": channel,
        "since": moment(since, option="--since", now=now, past=True) if since else None,
        "until": moment(until, option="--until", now=now, past=True) if until else None,
    }
    return {name: value for name, value in where.items() if value is not None}


def _ask_first(server: "Client", where: dict[str, str], *, yes: bool) -> None:
    """Ask a person at a terminal; a script has said what it wants."""
    if yes or not sys.stdin.isatty():
        return
    found = len(list(server.pages("/v1/dead-letters", most=COUNTED, **where)))
    if not found:
        return
    count = f"more than {found - 1}" if found == COUNTED else str(found)
    typer.confirm(f"Redrive {count} dead letters?", abort=True, err=True)


def _redrive_all(server: "Client", where: dict[str, str]) -> int:
    """Redrive what matches now; what dies again meanwhile is left for the next time."""
    body: dict[str, Any] = {"until": datetime.now(UTC).isoformat()} | where | {"limit": AT_ONCE}
    total = 0
    while True:
        count: int = server.post("/v1/dead-letters/redrive", body)["redriven"]
        total += count
        if count < AT_ONCE:
            return total
        note(f"redriven so far: {total}")


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    return (
        entry["id"],
        when(entry["dead_at"]),
        entry["channel"] or "",
        entry["user_id"] or "",
        entry["reason"],
        str(entry["attempts"]),
        entry["detail"] or "",
    )
