"""`notify`: everything a person does with the service."""

# ruff: noqa: PLC0415 - imported when needed, so that --help doesn't wait for it

import typer

from notification_service.entrypoints.cli import dead_letters, doctor, sending, status, up, users
from notification_service.entrypoints.cli.console import EXIT_CODES, AsJson, print_json, run
from notification_service.entrypoints.cli.version import Version

_application = typer.Typer(
    epilog=f"Settings are NS_* variables, in the environment or in .env.\n\n{EXIT_CODES}",
    rich_markup_mode=None,
)


def main() -> None:
    """Run the command line."""
    run(_application, "notify")


@_application.callback(invoke_without_command=True)
def _notify(context: typer.Context, _version: Version = False) -> None:
    """Send notifications, see what became of them, and look after the service."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


for _room in (up, sending, status, dead_letters):
    _application.registered_commands += _room.commands.registered_commands
_application.add_typer(users.commands, name="users")


@_application.command(epilog=EXIT_CODES)
def migrate(as_json: AsJson = False) -> None:
    """Bring the database's tables up to date.

    Harmless when they are.
    """
    from notification_service.entrypoints.cli.configuration import settings_with
    from notification_service.entrypoints.cli.database import migrate_now

    before, after = migrate_now(settings_with())
    if as_json:
        print_json({"before": before, "after": after})
    elif before == after:
        typer.echo(f"up to date: {after}")
    else:
        typer.echo(f"migrated: {before or 'nothing'} -> {after}")


_application.registered_commands += doctor.commands.registered_commands
