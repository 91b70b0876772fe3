"""`notify status` and `notify tail`: what became of notifications."""

# ruff: noqa: PLC0415 - imported when needed, so that --help doesn't wait for it

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from notification_service.entrypoints.cli.console import (
    EXIT_CODES,
    AsJson,
    CommandError,
    ExitCode,
    fields,
    note,
    print_json,
    print_json_line,
    print_rows,
    when,
)
from notification_service.entrypoints.cli.options import ChannelName, Token, Url

if TYPE_CHECKING:
    from notification_service.entrypoints.cli.client import Client

commands = typer.Typer()

LOOK_SECONDS = 0.5
RECENT = 100
WAITING = frozenset({"pending", "queued", "sending"})
"""States that something still follows by itself. (The domain's own names cost --help half a second.)"""
GOOD = frozenset({"sent", "delivered"})

type Json = dict[str, Any]


@commands.command(epilog=EXIT_CODES)
def status(
    notification_id: Annotated[str, typer.Argument(metavar="ID", help="The notification's id.")],
    watch: Annotated[bool, typer.Option("--watch", help="Go on until it is final.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Show what became of a notification.

    Its state, and every attempt to deliver it.
    """
    from notification_service.entrypoints.cli.client import client

    with client(url, token) as server:
        path = f"/v1/notifications/{notification_id}"
        for notification in _states(server, path) if watch else [server.get(path)]:
            history = server.get(f"{path}/attempts")["data"]
            if as_json and watch:
                print_json_line({"notification": notification, "attempts": history})
            elif as_json:
                print_json({"notification": notification, "attempts": history})
            elif not watch or is_final(notification):
                show(notification)
                show_history(notification, history)
            else:
                note(f"{notification['status']}{_why(notification)}")


@commands.command(epilog=EXIT_CODES)
def tail(
    *,
    user: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    channel: ChannelName = None,
    status: Annotated[str | None, typer.Option(help="Only those in this state.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each change.")] = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Follow notifications as they arrive.

    Prints each new one and each change of its state, until Ctrl-C.
    """
    from notification_service.entrypoints.cli.client import client

    with client(url, token) as server:
        if not as_json:
            note(f"following {server.url}; Ctrl-C ends it")
        try:
            for change in changes(server, user_id=user, channel=channel):
                if status is None or change["status"] == status:
                    print_json_line(change) if as_json else typer.echo(_line(change))
        except KeyboardInterrupt:
            return


def changes(server: "Client", **query: str | None) -> Iterator[Json]:
    """Yield each notification that is new, and each one seen before whose state has changed; never ends."""
    seen = {each["id"]: _state(each) for each in server.pages("/v1/notifications", most=RECENT, **query)}
    while True:
        time.sleep(LOOK_SECONDS)
        recent = {each["id"]: each for each in server.pages("/v1/notifications", most=RECENT, **query)}
        older = [name for name, state in seen.items() if name not in recent and not _is_over(state)]
        found = [server.get(f"/v1/notifications/{name}") for name in older[:RECENT]]
        changed = [
            each for each in [*found, *reversed(recent.values())] if seen.get(each["id"]) != _state(each)
        ]
        seen |= {each["id"]: _state(each) for each in changed}
        seen = {name: state for name, state in seen.items() if name in recent or not _is_over(state)}
        yield from changed


def follow(server: "Client", notification_id: str, *, timeout: int) -> Json:
    """Return the notification once it is final; `CommandError` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    for notification in _states(server, f"/v1/notifications/{notification_id}", deadline):
        if is_final(notification):
            return notification
        note(f"{notification['status']}{_why(notification)}")
    raise CommandError(
        f"it was accepted, but is not final after {timeout} s; see: notify status {notification_id}",
        ExitCode.TRY_LATER,
    )


def is_final(notification: Json) -> bool:
    """Whether nothing more happens to it by itself."""
    return notification["status"] not in WAITING


def is_good(notification: Json) -> bool:
    """Whether it was sent."""
    return notification["status"] in GOOD


def show(notification: Json) -> None:
    """Print a notification for a person."""
    said = {
        "id": notification["id"],
        "status": f"{notification['status']}{_why(notification)}",
        "user": notification["user_id"],
        "channel": notification["channel"].get("type"),
        "created": when(notification["created_at"]),
        "due": when(notification["due_at"]) if not is_final(notification) else None,
        "sent": when(notification["sent_at"]),
        "retries": notification["retry_count"] or None,
        "reference": notification.get("reference"),
    }
    typer.echo(fields(said))


def show_history(notification: Json, history: list[Json]) -> None:
    """Print what happened to it, oldest first."""
    typer.echo()
    rows = [(when(notification["created_at"]), "accepted", "", "", "")]
    rows += [
        (
            when(each["started_at"]),
            each["outcome"],
            each.get("provider") or "",
            "" if each.get("duration_ms") is None else f"{each['duration_ms']:.0f} ms",
            _detail(each),
        )
        for each in history
    ]
    print_rows(("time", "what", "provider", "took", "detail"), rows, nothing="")


def _detail(entry: Json) -> str:
    again = f"again at {when(entry['next_attempt_at'])}" if entry.get("next_attempt_at") else ""
    return " · ".join(part for part in (entry.get("error_code"), entry.get("detail"), again) if part)


def _states(server: "Client", path: str, deadline: float | None = None) -> Iterator[Json]:
    """Yield the notification each time its state has changed, the last time when it is final."""
    known = None
    while deadline is None or time.monotonic() < deadline:
        notification = server.get(path)
        if _state(notification) != known:
            known = _state(notification)
            yield notification
        if is_final(notification):
            return
        time.sleep(LOOK_SECONDS)


def _state(notification: Json) -> tuple[Any, ...]:
    return tuple(notification[name] for name in ("status", "status_reason", "retry_count"))


def _is_over(state: tuple[Any, ...]) -> bool:
    return state[0] not in WAITING


def _why(notification: Json) -> str:
    return f" ({notification['status_reason']})" if notification["status_reason"] else ""


def _line(notification: Json) -> str:
    state = f"{notification['status']}{_why(notification)}"
    parts = [when(datetime.now(UTC)), notification["id"], f"{notification['channel'].get('type'):<8}"]
    return "  ".join([*parts, f"{state:<28}", notification["user_id"]])
