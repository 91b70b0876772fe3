"""Options that several commands share."""

from datetime import datetime, timedelta
from typing import Annotated

import typer

from notification_service.entrypoints.cli.console import CommandError, ExitCode

Url = Annotated[
    str | None, typer.Option("--url", help="The server (NS_URL; else made of NS_HOST and NS_PORT).")
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token", help="Bearer token (NS_TOKEN; else an administrator's, made with NS_JWT_SECRET)."
    ),
]
ChannelName = Annotated[
    str | None, typer.Option("--channel", help="One of email, sms, push, webhook, chat, in_app.")
]

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
FORMS = "write 2030-01-31T08:00, 2030-01-31T08:00Z, or a distance like 10m, 2h, 1d"


def moment(text: str, *, option: str, now: datetime, past: bool = False) -> str:
    """Return a time in RFC 3339 form; without a zone it is this machine's.

    A distance is counted from `now`, backwards where the option asks about the `past`.
    """
    distance = _distance(text)
    if distance is not None:
        return (now - distance if past else now + distance).isoformat()
    try:
        return datetime.fromisoformat(text).astimezone().isoformat()
    except (ValueError, OverflowError):
        raise CommandError(f"{option}: '{text}' is no time; {FORMS}", ExitCode.USAGE) from None


def _distance(text: str) -> timedelta | None:
    number, unit = text[:-1].removeprefix("+"), text[-1:]
    if unit not in UNITS or not number.isdecimal() or len(number) > 6:
        return None
    return timedelta(**{UNITS[unit]: int(number)})
