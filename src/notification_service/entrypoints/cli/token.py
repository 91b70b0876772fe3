"""`app-token`: prints a bearer token, for anybody's name."""

# ruff: noqa: PLC0415 - imported when needed, so that --help doesn't wait for it

from typing import Annotated

import typer

from notification_service.domain.people import Role
from notification_service.entrypoints.cli.console import EXIT_CODES, AsJson, print_json, run
from notification_service.entrypoints.cli.version import Version

_application = typer.Typer(add_completion=False, rich_markup_mode=None)


def main() -> None:
    """Run the command."""
    run(_application, "app-token")


@_application.command(epilog=EXIT_CODES)
def _print_token(
    user: Annotated[str, typer.Option(help="The name the token speaks for; it need not be a known user.")],
    role: Annotated[Role, typer.Option(help="A user acts for itself, an admin for anyone.")] = Role.USER,
    ttl: Annotated[
        int | None, typer.Option(min=1, help="Seconds until it expires (NS_JWT_TTL_SECONDS).")
    ] = None,
    as_json: AsJson = False,
    _version: Version = False,
) -> None:
    """Print a token for `Authorization: Bearer …`, signed with this machine's NS_JWT_SECRET."""
    from notification_service.entrypoints.cli.configuration import settings_with
    from notification_service.entrypoints.cli.tokens import mint

    settings = settings_with(jwt_ttl_seconds=ttl)
    token = mint(settings, user, role)
    if as_json:
        print_json({"token": token, "user": user, "role": role, "expires_in": settings.jwt_ttl_seconds})
    else:
        typer.echo(token)
