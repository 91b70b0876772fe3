"""`notify up`: the whole service in one process."""

# ruff: noqa: PLC0415 - imported when needed, so that --help doesn't wait for it

import json
import secrets
import shlex
import sys
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from notification_service.entrypoints.cli.console import EXIT_CODES, note, stdout
from notification_service.entrypoints.cli.processes import Host, Port

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from notification_service.bootstrap import Service

commands = typer.Typer()

LINK_LIFETIME = timedelta(hours=1)
DEMO_USER = "demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstSteps:
    """What a newcomer can do at once; None where the settings make it impossible or unwise."""

    url: str
    link: str | None = None
    send: str | None = None
    look: str | None = None


@commands.command(epilog=EXIT_CODES)
def up(
    host: Host = None,
    port: Port = None,
    no_link: Annotated[bool, typer.Option("--no-link", help="Print no sign-in link and no token.")] = False,
) -> None:
    """Run everything in one process.

    Accepts, delivers and shows notifications; nothing else is needed. Ctrl-C ends it.
    """
    from notification_service.entrypoints.cli.configuration import configure_logging, settings_with
    from notification_service.entrypoints.cli.serving import run_everything

    settings = settings_with(host=host, port=port)
    configure_logging(settings, "up")

    async def greet(application: "Starlette", url: str) -> None:
        service: Service = application.state.service
        may_show = settings.is_development and not no_link
        show(await _first_steps(service, url) if may_show else FirstSteps(url=url))

    code = run_everything(settings, greet=greet)
    note("stopped")
    raise typer.Exit(code)


def show(steps: FirstSteps) -> None:
    """Print the first steps; each command is one line whatever the width, so that it can be copied."""
    if sys.stdout.isatty():
        _show_panel(steps)
    else:
        typer.echo(f"The service runs at {steps.url} (Ctrl-C ends it)")
    titles = (
        ("Sign in, once", steps.link),
        ("Send a first notification", steps.send),
        ("See what became of it", steps.look),
    )
    for title, line in titles:
        if line:
            typer.echo(f"\n{title}:\n{line}")
    sys.stdout.flush()


async def _first_steps(service: "Service", url: str) -> FirstSteps:
    from notification_service.domain.people import Role
    from notification_service.entrypoints.cli.tokens import mint

    token = mint(service.settings, DEMO_USER, Role.USER)
    # Anything but the mailbox would really send.
    may_send = service.settings.email_providers[:1] == ("mailbox",)
    return FirstSteps(
        url=url,
        link=await _one_time_link(service, url),
        send=curl(f"{url}/v1/notifications", token, first_notification()) if may_send else None,
        look=curl(f"{url}/v1/notifications?limit=1", token) if may_send else None,
    )


async def _one_time_link(service: "Service", url: str) -> str:
    from notification_service.domain.people import Principal, Role
    from notification_service.entrypoints.cli.configuration import operator
    from notification_service.entrypoints.web.sessions import secret_hash

    secret = secrets.token_urlsafe(32)
    principal = Principal(operator(), Role.ADMIN)
    await service.sessions.add_link(secret_hash(secret), principal, lifetime=LINK_LIFETIME)
    return f"{url}/link/{secret}"


def first_notification() -> dict[str, object]:
    """Return an email that the mailbox keeps."""
    channel = {"type": "email", "to": "demo@example.com", "subject": "Hello"}
    return {"user_id": DEMO_USER, "channel": channel, "body": "The first notification."}


def curl(url: str, token: str, body: dict[str, object] | None = None) -> str:
    """Return one line that any shell of Unix takes as it is."""
    parts = ["curl", "-sS", url, "-H", f"Authorization: Bearer {token}"]
    if body is not None:
        parts += ["-H", "Content-Type: application/json", "-d", json.dumps(body, separators=(",", ":"))]
    return shlex.join(parts)


def _show_panel(steps: FirstSteps) -> None:
    from rich.panel import Panel

    lines = [f"API      {steps.url}/docs", f"Mailbox  {steps.url}/mailbox", "Ctrl-C ends it"]
    stdout().print(Panel("\n".join(lines), title="notification-service", title_align="left", expand=False))
