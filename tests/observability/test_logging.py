"""The form of the log, and where it goes."""

import asyncio
import io
import json
import logging as stdlib_logging
import re
import subprocess
import sys
import warnings
from typing import Any, override

import pytest
import structlog

from notification_service.observability import logging

type Output = pytest.CaptureFixture[str]


def configure(level: str = "info", form: logging.Format = "json") -> None:
    logging.configure(level, format=form, service_name="notes", process="worker")


def lines(output: Output) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.readouterr().err.splitlines()]


def line(output: Output) -> dict[str, Any]:
    (only,) = lines(output)
    return only


class Terminal(io.StringIO):
    """A stderr that a person looks at."""

    @override
    def isatty(self) -> bool:
        return True


def test_an_event_is_one_line_of_json_with_its_facts(capsys: Output) -> None:
    configure()

    structlog.get_logger().info("delivered", notification_id="0197", attempt=2)

    told = line(capsys)
    assert list(told)[:3] == ["timestamp", "level", "event"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", told["timestamp"])
    assert {key: told[key] for key in ("level", "event", "notification_id", "attempt")} == {
        "level": "info",
        "event": "delivered",
        "notification_id": "0197",
        "attempt": 2,
    }
    assert (told["service"], told["process"]) == ("notes", "worker")


def test_nothing_of_the_log_is_printed_on_stdout(capsys: Output) -> None:
    """Commands print their data there."""
    configure()

    structlog.get_logger().info("api_started")
    stdlib_logging.getLogger("library").warning("careful")

    assert capsys.readouterr().out == ""


def test_the_context_is_part_of_each_line(capsys: Output) -> None:
    configure()

    with structlog.contextvars.bound_contextvars(request_id="r-1", correlation_id="c-1"):
        structlog.get_logger().info("accepted")
        stdlib_logging.getLogger("library").warning("careful")

    assert [(told["request_id"], told["correlation_id"]) for told in lines(capsys)] == [("r-1", "c-1")] * 2


def test_auto_means_json_where_nobody_looks(capsys: Output) -> None:
    configure(form="auto")

    structlog.get_logger().info("api_started")

    assert line(capsys)["event"] == "api_started"


def test_auto_means_readable_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    configure(form="auto")

    structlog.get_logger().info("api_started", port=8000)

    assert not terminal.getvalue().startswith("{")
    assert "api_started" in terminal.getvalue()


def test_console_is_readable_without_colours_in_a_file(capsys: Output) -> None:
    configure(form="console")

    structlog.get_logger().info("retry_scheduled", attempt=2)

    told = capsys.readouterr().err
    assert "retry_scheduled" in told
    assert "attempt=2" in told
    assert "\x1b" not in told


def test_events_below_the_level_are_left_out(capsys: Output) -> None:
    configure("warning")

    structlog.get_logger().info("delivered")
    structlog.get_logger().warning("queue_failed")

    assert line(capsys)["event"] == "queue_failed"


def test_it_may_be_configured_again(capsys: Output) -> None:
    log = structlog.get_logger()
    configure("warning")
    configure("debug")

    log.debug("looked")
    stdlib_logging.getLogger("library").warning("careful")

    assert [told["event"] for told in lines(capsys)] == ["looked", "careful"]


def test_libraries_have_the_same_form(capsys: Output) -> None:
    configure()

    stdlib_logging.getLogger("aiohttp.client").warning("connection %s", "lost")

    told = line(capsys)
    assert (told["event"], told["level"], told["logger"]) == ("connection lost", "warning", "aiohttp.client")
    assert (told["service"], told["process"]) == ("notes", "worker")


@pytest.mark.parametrize("name", ["aiosqlite", "sqlalchemy.engine", "aiosmtplib", "asyncio"])
def test_libraries_are_heard_from_warnings_up_whatever_the_level(capsys: Output, name: str) -> None:
    """What they say below that holds the parameters of every statement."""
    configure("debug")

    stdlib_logging.getLogger(name).debug("executing with ('ann@example.com',)")
    stdlib_logging.getLogger(name).info("executing with ('ann@example.com',)")

    assert lines(capsys) == []


def test_a_server_tells_of_its_start_and_not_of_each_request(capsys: Output) -> None:
    for name in ("uvicorn.error", "uvicorn.access"):  # as the server leaves them
        stdlib_logging.getLogger(name).addHandler(stdlib_logging.StreamHandler(sys.stdout))
        stdlib_logging.getLogger(name).setLevel("INFO")
    configure()

    stdlib_logging.getLogger("uvicorn.error").info("Started server process")
    stdlib_logging.getLogger("uvicorn.access").info("GET /v1/notifications?user_id=ann 200")

    printed = capsys.readouterr()
    assert [json.loads(told)["event"] for told in printed.err.splitlines()] == ["Started server process"]
    assert printed.out == ""


def test_warnings_of_the_interpreter_are_lines_of_the_log(capsys: Output) -> None:
    configure()

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        stdlib_logging.captureWarnings(True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)

    assert line(capsys)["logger"] == "py.warnings"


def test_a_librarys_broken_line_is_told_without_its_values(
    capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stdlib_logging.getLogger(), "handlers", [])  # pytest's own would raise
    configure()

    stdlib_logging.getLogger("library").warning("%d recipients", "ann@example.com")

    printed = capsys.readouterr().err
    assert "library" in printed
    assert "ann@example.com" not in printed


def test_work_goes_on_when_nobody_can_read_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    configure()
    monkeypatch.setattr(sys, "stderr", closed)
    closed.close()

    structlog.get_logger().info("delivered")
    stdlib_logging.getLogger("library").warning("careful")


async def test_what_asyncio_tells_of_a_lost_task_holds_no_values(capsys: Output) -> None:
    configure()
    error = ValueError("for ann@example.com")

    asyncio.get_running_loop().call_exception_handler(
        {"message": "Task exception was never retrieved", "exception": error, "future": error}
    )

    told = line(capsys)
    assert told["event"] == "Task exception was never retrieved"
    assert "ValueError" in told["exception"]
    assert "ann@example.com" not in str(told)


def test_a_crash_is_one_line_of_the_log_without_values() -> None:
    program = (
        "from notification_service.observability import logging\n"
        "logging.configure(format='json', service_name='notes', process='worker')\n"
        "address = 'ann@example.com'\n"
        "raise KeyError(address)\n"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=False
    )

    told = json.loads(ended.stderr)
    assert (told["event"], told["level"], ended.returncode) == ("crashed", "critical", 1)
    assert "KeyError" in told["exception"]
    assert "ann@example.com" not in ended.stderr
