"""`notify send`: hands one notification to the server."""

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
)
from notification_service.entrypoints.cli.options import Token, Url, moment

if TYPE_CHECKING:
    from notification_service.entrypoints.cli.client import Client

commands = typer.Typer()

LONGEST_SUBJECT = 200


@commands.command(epilog=EXIT_CODES)
def send(
    *,
    email: Annotated[str | None, typer.Option("--to", "--email", help="An email address.")] = None,
    sms: Annotated[str | None, typer.Option(help="A phone number like +4915112345678.")] = None,
    push: Annotated[str | None, typer.Option(help="A device token.")] = None,
    webhook: Annotated[str | None, typer.Option(help="A URL.")] = None,
    user: Annotated[str | None, typer.Option(help="Whom it is for. Default: your name here.")] = None,
    subject: Annotated[
        str | None, typer.Option(help="Subject or title. Default: the body's first line.")
    ] = None,
    body: Annotated[str | None, typer.Option(help="The text. Default: what is piped in.")] = None,
    at: Annotated[str | None, typer.Option(help="When: a time, or a distance like 10m, 2h, 1d.")] = None,
    priority: Annotated[int | None, typer.Option(min=1, max=10, help="10 is the most urgent.")] = None,
    metadata: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="May be repeated.")] = None,
    reference: Annotated[str | None, typer.Option(help="Your own id for it.")] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="Makes repeating the command harmless.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is sent, or has failed.")] = False,
    timeout: Annotated[int, typer.Option(min=1, help="Seconds that --wait waits.")] = 60,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Send one notification.

    By --to (email), --sms, --push or --webhook; the text is --body, or what is piped in.
    """
    from notification_service.entrypoints.cli.client import client
    from notification_service.entrypoints.cli.configuration import operator
    from notification_service.entrypoints.cli.status import follow, is_good, show

    addresses = {"email": email, "sms": sms, "push": push, "webhook": webhook}
    text = body_of(body)
    request = {
        "user_id": user or operator(),
        "channel": channel_of(addresses, subject or _first_line(text)),
        "body": text,
        "metadata": metadata_of(metadata or []),
        "scheduled_for": moment(at, option="--at", now=datetime.now(UTC)) if at else None,
        "priority": priority,
        "reference": reference,
    }
    with client(url, token) as server:
        sent = _post(server, request, idempotency_key)
        if wait:
            sent = follow(server, sent["id"], timeout=timeout)
    if as_json:
        print_json(sent)
    else:
        show(sent)
    if wait and not is_good(sent):
        raise typer.Exit(ExitCode.FAILED)


def channel_of(addresses: dict[str, str | None], title: str) -> dict[str, Any]:
    """Return the channel of the one address that was given."""
    given = {name: address for name, address in addresses.items() if address is not None}
    if len(given) != 1:
        raise CommandError("name one receiver: --to, --sms, --push or --webhook", ExitCode.USAGE)
    [(name, address)] = given.items()
    forms: dict[str, dict[str, Any]] = {
        "email": {"to": address, "subject": title},
        "sms": {"phone_number": address},
        "push": {"device_token": address, "title": title},
        "webhook": {"url": address},
    }
    return {"type": name} | forms[name]


def metadata_of(pairs: list[str]) -> dict[str, str]:
    """Read `key=value` pairs; a later one of the same key wins."""
    for pair in pairs:
        if "=" not in pair:
            raise CommandError(f"--metadata: '{pair}' is not KEY=VALUE", ExitCode.USAGE)
    return dict(pair.split("=", 1) for pair in pairs)


def body_of(option: str | None) -> str:
    """Return the text given as an option, else what is piped in."""
    if option is not None and option != "-":
        return option
    if sys.stdin.isatty():
        note("Type the text, then Ctrl-D:")
    return sys.stdin.read().rstrip("\n")


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0][:LONGEST_SUBJECT]


def _post(server: "Client", request: dict[str, Any], key: str | None) -> dict[str, Any]:
    said = {name: value for name, value in request.items() if value is not None}
    return server.post("/v1/notifications", said, key=key)
