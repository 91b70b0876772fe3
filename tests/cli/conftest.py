"""What the tests of the commands share: processes, and the commands themselves in this process."""

import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog

from notification_service.entrypoints.cli import main, token
from tests import services
from tests.cli.processes import Starter, answers, environment, starting

TOUCHED = ("", "notification_service", "uvicorn.error", "uvicorn.access", "_granian", "granian.access")

type Command = Callable[..., "Said"]


@dataclass(frozen=True)
class Said:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    """Start processes that end with the test."""
    with starting(tmp_path / "run") as starter:
        yield starter


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Give this process exactly these settings, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def give(**values: str) -> None:
        import os

        for name in [name for name in os.environ if name not in {"PATH", "HOME", "LANG"}]:
            monkeypatch.delenv(name)
        for name, value in environment(tmp_path, **values).items():
            monkeypatch.setenv(name, value)

    give()
    return give


@pytest.fixture
def notify(
    settings: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """Run `notify` in this process, as its script does."""
    yield from _command("notify", main.main, monkeypatch, capsys)


@pytest.fixture
def app_token(
    settings: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """Run `app-token` in this process."""
    yield from _command("app-token", token.main, monkeypatch, capsys)


@dataclass(frozen=True)
class Service:
    """A service that runs for all tests of a module."""

    url: str
    folder: Path
    port: int


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run one `notify up` whose emails arrive, whose text messages never do."""
    folder, port = tmp_path_factory.mktemp("service"), services.free_port()
    wishes = {"NS_SMS_PROVIDERS": "simulated", "NS_SIMULATED_PERMANENT_SHARE": "1", "NS_PORT": str(port)}
    with starting(folder, **wishes) as starter:
        starter.script("notify", "up")
        answers(f"http://127.0.0.1:{port}/health")
        yield Service(f"http://127.0.0.1:{port}", folder, port)


@pytest.fixture
def at_service(service: Service, settings: Callable[..., None], notify: Command) -> Command:
    """Run `notify` with the settings of the running service."""
    settings(NS_DATA_DIR=str(service.folder / "data"), NS_PORT=str(service.port))
    return notify


def _command(
    name: str,
    entry: Callable[[], object],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Command]:
    hook = sys.excepthook
    before = {each: _state(each) for each in TOUCHED}

    def command(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            entry()
        printed = capsys.readouterr()
        return Said(int(ended.value.code or 0), printed.out, printed.err)

    yield command

    logging.captureWarnings(False)
    sys.excepthook = hook
    structlog.reset_defaults()
    for each, (handlers, level) in before.items():
        logging.getLogger(each).handlers = handlers
        logging.getLogger(each).setLevel(level)


def _state(name: str) -> tuple[list[logging.Handler], int]:
    logger = logging.getLogger(name)
    return list(logger.handlers), logger.level
