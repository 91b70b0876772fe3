"""How every command speaks: data on stdout, one helpful line on stderr, an exit code that scripts can use."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from notification_service.domain.errors import InvalidInputError, NotificationServiceError

if TYPE_CHECKING:
    from rich.console import Console


class ExitCode(IntEnum):
    """What a script may branch on."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    NOT_FOUND = 4
    NOT_ALLOWED = 5
    TRY_LATER = 6
    INTERRUPTED = 130


EXIT_CODES = (
    "Exit codes: 0 done · 1 failed, or its state forbids it · 2 wrong command or setting · "
    "3 server or database out of reach · 4 not found · 5 not allowed · 6 refused for now, try again later · "
    "130 interrupted."
)

CODES = {
    "store_unavailable": ExitCode.UNREACHABLE,
    "rate_limiter_unavailable": ExitCode.UNREACHABLE,
    "not_found": ExitCode.NOT_FOUND,
}
"""By the code of a `NotificationServiceError`; the others mean FAILED."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


class CommandError(typer.TyperException):
    """A command ends here; the message is the one line that its user sees."""

    def __init__(self, message: str, code: ExitCode = ExitCode.FAILED) -> None:
        """Say what is wrong and what to do about it."""
        super().__init__(message)
        self.exit_code = code


def run(application: typer.Typer, name: str) -> NoReturn:
    """Run a command line and leave the process with its exit code; nobody ever sees a traceback."""
    sys.exit(guarded(name, lambda: application(standalone_mode=False, prog_name=name)))


def guarded(name: str, action: Callable[[], Any]) -> int:
    """Return the exit code of an action; whatever it raises becomes one line."""
    try:
        code = action()
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Exception as error:
        message, failed = explained(error, name)
        note(f"{name}: {message}")
        return failed
    return code if isinstance(code, int) else ExitCode.OK


def explained(error: Exception, name: str) -> tuple[str, int]:
    """Return what a person is told of an error, and the exit code it stands for."""
    match error:
        case ExceptionGroup():  # one of several tasks has failed and ended the others
            return explained(error.exceptions[0], name)
        case typer.Abort():
            return "nothing was done", ExitCode.FAILED
        case typer.TyperException():
            return f"{error.format_message().rstrip('.')}{_hint(name, error)}", error.exit_code
        case InvalidInputError():
            return in_words(error.problems.items()), ExitCode.USAGE
        case NotificationServiceError():
            return str(error), CODES.get(error.code, ExitCode.FAILED)
        case _:
            return _unexpected(error), ExitCode.FAILED


def print_json(data: Any) -> None:
    """Print one JSON document."""
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))


def print_json_line(data: Any) -> None:
    """Print JSON as one line, at once."""
    typer.echo(json.dumps(data, ensure_ascii=False))
    sys.stdout.flush()


def print_rich(*parts: object) -> None:
    """Print for a person; without a terminal as plain text that is never wrapped."""
    console = stdout()
    for part in parts:
        console.print(part)


def stdout() -> "Console":
    """Return a console on what stdout is at this moment."""
    from rich.console import Console  # noqa: PLC0415 - costs a command that doesn't print tables 100 ms

    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(highlight=False, width=WIDE, soft_wrap=True)


WIDE = 240
"""Columns where no terminal says how many there are: enough to keep a row of a table on one line."""


def print_rows(columns: Iterable[str], rows: Iterable[Iterable[str]], *, nothing: str) -> None:
    """Print a table, or `nothing` when it has no rows; values are never read as markup."""
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(value) for value in row))
    if table.row_count:
        print_rich(table)
    else:
        note(nothing)


def note(message: str) -> None:
    """Tell a person something that is not data."""
    typer.echo(message, err=True)


def when(value: str | datetime | None) -> str:
    """Show a time in this machine's zone."""
    if not value:
        return ""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def fields(data: Mapping[str, Any]) -> str:
    """Show the fields that say something, one to a line."""
    said = {name: value for name, value in data.items() if value not in (None, "", {}, [])}
    width = max((len(name) for name in said), default=0)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in said.items())


def in_words(problems: Iterable[tuple[str, str]]) -> str:
    """Say in one line which fields are wrong and how."""
    return "; ".join(f"{field}: {problem}" if field else problem for field, problem in problems)


def _hint(name: str, error: typer.TyperException) -> str:
    """A command that can't be understood is told where help is, by the path as it was typed."""
    context = getattr(error, "ctx", None)
    return f" (see {context.command_path if context else name} --help)" if hasattr(error, "ctx") else ""


def _unexpected(error: Exception) -> str:
    """Say where it happened; a process that keeps a log writes the way there into it."""
    structlog = sys.modules.get("structlog")
    if structlog and structlog.is_configured():
        structlog.get_logger().critical("crashed", exc_info=error)
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}" if trace else "?"
    text = str(error).partition("\n")[0]
    return f"unexpected {type(error).__name__} in {place}: {text} (please report it)"
