"""`notify users`: who may sign in, directly in the database."""

# ruff: noqa: PLC0415 - imported when needed, so that --help doesn't wait for it

import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from notification_service.domain.errors import NotFoundError
from notification_service.domain.people import Role
from notification_service.entrypoints.cli.console import (
    EXIT_CODES,
    AsJson,
    CommandError,
    ExitCode,
    print_json,
    print_rows,
    when,
)

if TYPE_CHECKING:
    from notification_service.application.people import People

commands = typer.Typer(rich_markup_mode=None, help="Look after those who may sign in.")

Name = Annotated[str, typer.Argument(help="The name they sign in with.")]
FromStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")]


@commands.command(epilog=EXIT_CODES)
def add(
    name: Name,
    role: Annotated[Role, typer.Option(help="A user acts for itself, an admin for anyone.")] = Role.USER,
    password_stdin: FromStdin = False,
    no_password: Annotated[
        bool, typer.Option("--no-password", help="Nobody can sign in with a password as them.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Add somebody."""
    password = None if no_password else _password(from_stdin=password_stdin)
    _with_people(lambda people: people.add(name, password, role))
    _say({"name": name, "role": role}, f"added {name} ({role})", as_json=as_json)


@commands.command(epilog=EXIT_CODES)
def passwd(name: Name, password_stdin: FromStdin = False, as_json: AsJson = False) -> None:
    """Give somebody a new password."""
    password = _password(from_stdin=password_stdin)
    _with_people(lambda people: people.set_password(name, password), name)
    _say({"name": name}, f"{name} has a new password", as_json=as_json)


@commands.command("list", epilog=EXIT_CODES)
def list_users(as_json: AsJson = False) -> None:
    """List everybody."""
    everybody = _with_people(lambda people: people.everybody())
    if as_json:
        print_json(
            [
                {
                    "name": each.id,
                    "role": each.role,
                    "disabled": each.disabled,
                    "created_at": each.created_at.isoformat(),
                }
                for each in everybody
            ]
        )
        return
    rows = [
        (each.id, each.role, "disabled" if each.disabled else "", when(each.created_at)) for each in everybody
    ]
    print_rows(("name", "role", "", "added"), rows, nothing="nobody yet; add somebody: notify users add NAME")


@commands.command(epilog=EXIT_CODES)
def disable(name: Name, as_json: AsJson = False) -> None:
    """Shut somebody out; their tokens stay valid until they expire."""
    _with_people(lambda people: people.set_disabled(name, disabled=True), name)
    _say({"name": name, "disabled": True}, f"{name} can no longer sign in", as_json=as_json)


@commands.command(epilog=EXIT_CODES)
def enable(name: Name, as_json: AsJson = False) -> None:
    """Let somebody in again."""
    _with_people(lambda people: people.set_disabled(name, disabled=False), name)
    _say({"name": name, "disabled": False}, f"{name} can sign in again", as_json=as_json)


def _with_people[Result](action: "Callable[[People], Awaitable[Result]]", name: str = "") -> Result:
    """Do something about people, and say whom it was about when there is nobody of that name."""
    from notification_service.entrypoints.cli.configuration import settings_with
    from notification_service.entrypoints.cli.database import with_service

    try:
        return with_service(settings_with(), lambda service: action(service.people))
    except NotFoundError:
        raise CommandError(f"there is no user '{name}'; see: notify users list", ExitCode.NOT_FOUND) from None


def _password(*, from_stdin: bool) -> str:
    """Return a password from stdin or from a person, who types it twice and unseen."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise CommandError(
            "there is no terminal to ask for the password; use --password-stdin", ExitCode.USAGE
        )
    typed: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return typed


def _say(data: dict[str, object], words: str, *, as_json: bool) -> None:
    if as_json:
        print_json(data)
    else:
        typer.echo(words)
