"""Whatever happens in a command, a person reads one line and a script gets an exit code."""

import json
from typing import NoReturn

import pytest
import structlog
import typer

from notification_service.domain.errors import (
    InvalidInputError,
    InvalidStateError,
    NotFoundError,
    StoreUnavailableError,
)
from notification_service.entrypoints.cli.console import CommandError, ExitCode, guarded
from notification_service.observability import logging
from tests.cli.conftest import Command


def fails(error: BaseException) -> NoReturn:
    raise error


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (CommandError("no such thing", ExitCode.NOT_FOUND), 4, "notify: no such thing"),
        (StoreUnavailableError(), 3, "notify: the database is out of reach; try again shortly"),
        (NotFoundError(), 4, "notify: not found"),
        (InvalidStateError(), 1, "notify: the state it is in does not allow this"),
        (InvalidInputError({"password": "is short", "": "is odd"}), 2, "notify: password: is short; is odd"),
        (typer.Abort(), 1, "notify: nothing was done"),
        (ExceptionGroup("tasks", [ExceptionGroup("more", [NotFoundError()])]), 4, "notify: not found"),
    ],
)
def test_an_error_is_one_line_and_a_code(
    capsys: pytest.CaptureFixture[str], error: Exception, code: int, line: str
) -> None:
    """On stderr, so that stdout holds data only."""
    found = guarded("notify", lambda: fails(error))

    assert found == code
    assert capsys.readouterr() == ("", f"{line}\n")


def test_ctrl_c_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Who pressed it knows."""
    assert guarded("notify", lambda: fails(KeyboardInterrupt())) == 130
    assert capsys.readouterr() == ("", "")


def test_an_unexpected_error_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    """It names the place, so that a report of it is of use."""
    assert guarded("notify", lambda: fails(ValueError("a secret?\nmore"))) == 1

    printed = capsys.readouterr().err
    assert printed.startswith(f"notify: unexpected ValueError in {__name__}:")
    assert printed.endswith(": a secret? (please report it)\n")
    assert printed.count("\n") == 1


def test_a_process_with_a_log_writes_down_how_it_crashed(
    notify: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line for a person says where; the log says by which way."""
    logging.configure("info", format="json", service_name="us", process="api")

    guarded("app", lambda: fails(ValueError("no")))

    crash = json.loads(capsys.readouterr().err.splitlines()[0])
    assert (crash["event"], crash["level"]) == ("crashed", "critical")
    assert structlog.is_configured()


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (7, 7), ("text", 0)])
def test_what_a_command_returns_is_its_code(result: object, code: int) -> None:
    """Anything but a number means that it went well."""
    assert guarded("notify", lambda: result) == code
