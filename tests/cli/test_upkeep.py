"""`users`, `migrate` and `doctor`: what is done directly in the database and on this machine."""

import io
import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Command

Settings = Callable[..., None]
PASSWORD = "correct horse"


def types(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_a_user_is_added_listed_and_shut_out(notify: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a script sees of it is JSON."""
    types(monkeypatch, f"{PASSWORD}\n")
    added = notify("users", "add", "ann", "--role", "admin", "--password-stdin")
    notify("users", "add", "bot", "--no-password")
    disabled = notify("users", "disable", "bot")
    found = {each["name"]: each for each in json.loads(notify("users", "list", "--json").out)}

    assert (added.code, added.out) == (0, "added ann (admin)\n")
    assert disabled.out == "bot can no longer sign in\n"
    assert found["ann"]["role"] == "admin"
    assert (found["ann"]["disabled"], found["bot"]["disabled"]) == (False, True)
    assert notify("users", "enable", "bot").code == 0
    assert PASSWORD not in added.out + added.err


@pytest.mark.parametrize(
    ("typed", "problem"), [("short\n", "password: must have 8"), ("", "password: must have 8")]
)
def test_a_short_password_is_refused(
    notify: Command, monkeypatch: pytest.MonkeyPatch, typed: str, problem: str
) -> None:
    """Nobody is added then."""
    types(monkeypatch, typed)

    said = notify("users", "add", "ann", "--password-stdin")

    assert said.code == 2
    assert problem in said.err
    assert notify("users", "list", "--json").out.strip() == "[]"


def test_a_password_is_never_asked_without_a_terminal(
    notify: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script that forgot --password-stdin is told so instead of hanging."""
    types(monkeypatch, "")

    said = notify("users", "add", "ann")

    assert said.code == 2
    assert "--password-stdin" in said.err


def test_the_same_name_is_refused_twice(notify: Command) -> None:
    """One line that says why."""
    notify("users", "add", "ann", "--no-password")

    said = notify("users", "add", "ann", "--no-password")

    assert said.code == 2
    assert said.err == "notify: username: is taken already\n"


@pytest.mark.parametrize("command", ["disable", "enable", "passwd"])
def test_nobody_of_that_name_is_not_found(
    notify: Command, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Exit code 4, and how to see who there is."""
    types(monkeypatch, f"{PASSWORD}\n")

    said = notify("users", command, "nobody", *(["--password-stdin"] if command == "passwd" else []))

    assert said.code == 4
    assert said.err == "notify: there is no user 'nobody'; see: notify users list\n"


def test_a_database_out_of_reach_is_one_line(notify: Command, settings: Settings) -> None:
    """Exit code 3 within seconds; the password in the address isn't shown."""
    settings(NS_DATABASE_URL="postgresql://nobody:secret@127.0.0.1:1/nowhere")

    found = [notify("users", "list"), notify("migrate")]

    for said in found:
        assert said.code == 3
        assert said.err.startswith("notify: the database ")
        assert said.err.count("\n") == 1
        assert "secret" not in said.err


def test_migrate_says_what_it_did(notify: Command) -> None:
    """From nothing to the newest revision, and nothing the second time."""
    first, second = notify("migrate"), notify("migrate")
    third = json.loads(notify("migrate", "--json").out)

    assert first.out.startswith("migrated: nothing -> 0")
    assert second.out.startswith("up to date: 0")
    assert third["before"] == third["after"]


def checks(said: object) -> dict[str, dict[str, str]]:
    return {each["name"]: each for each in json.loads(said.out)["checks"]}  # type: ignore[attr-defined]


def test_the_doctor_finds_a_newcomers_machine_well(
    notify: Command, settings: Settings, free_port: int
) -> None:
    """Every part has its line, and the settings say where they come from."""
    settings(NS_PORT=str(free_port))

    said = notify("doctor", "--json")

    found = checks(said)
    assert said.code == 0
    assert {each["state"] for each in found.values()} == {"ok"}
    assert {"settings", "data folder", "database", "clock", "provider mailbox", "server"} <= found.keys()
    sources = {each["name"]: each["source"] for each in json.loads(said.out)["settings"]}
    assert sources["NS_PORT"] == "environment"
    assert sources["NS_HOST"] == "default"


def test_the_doctor_shows_no_secret(notify: Command, settings: Settings, tmp_path: Path) -> None:
    """Neither made nor given, neither in JSON nor for a person."""
    given = "K7w!x9Qz2#Lm5$Np8&Rt1*Vb4^Yc6(Hd"
    settings(NS_JWT_SECRET=given)
    texts = [notify("doctor", "--all").out, notify("doctor", "--json").out]

    kept = [file.read_text().strip() for file in (tmp_path / "data").glob("*secret*")]

    assert kept
    for text in texts:
        assert "NS_JWT_SECRET" in text
        assert not any(secret in text for secret in [given, *kept])


def test_the_doctor_warns_of_a_name_that_nothing_reads(notify: Command, settings: Settings) -> None:
    """A typing error would otherwise have no effect, silently. The commands' own names are known."""
    settings(NS_RATE_LIMIT_PER_HUOR="5", NS_URL="http://localhost:1", NS_TOKEN="x")

    said = notify("doctor", "--json")

    warnings = [each["detail"] for each in json.loads(said.out)["checks"] if each["state"] == "warning"]
    assert said.code == 0
    assert len(warnings) == 1
    assert "NS_RATE_LIMIT_PER_HUOR" in warnings[0]
    assert "NS_RATE_LIMIT_PER_HOUR" in warnings[0]


def test_the_doctor_names_what_is_broken_and_the_remedy(
    notify: Command, settings: Settings, free_port: int
) -> None:
    """Exit code 1; what can still be looked at is."""
    settings(NS_DATABASE_URL="postgresql://nobody:secret@127.0.0.1:1/nowhere", NS_PORT=str(free_port))

    with socket.create_server(("127.0.0.1", free_port)):
        said = notify("doctor", "--json")

    found = checks(said)
    assert said.code == 1
    assert found["database"]["state"] == "broken"
    assert "NS_DATABASE_URL" in found["database"]["remedy"]
    assert found["server"]["state"] == "broken"
    assert "in use by something else" in found["server"]["detail"]
    assert found["data folder"]["state"] == "ok"
    assert "secret@" not in said.out


def test_the_doctor_reaches_the_mail_server(notify: Command, settings: Settings, free_port: int) -> None:
    """A provider that doesn't answer is a line of its own, the others stay well."""
    settings(NS_EMAIL_PROVIDERS="smtp", NS_SMTP_URL=f"smtp://127.0.0.1:{free_port}")

    said = notify("doctor", "--json")

    found = checks(said)
    assert said.code == 1
    assert found["provider smtp"]["state"] == "broken"
    assert found["provider smtp"]["remedy"]
    assert found["database"]["state"] == "ok"


def test_the_doctor_warns_of_an_open_folder(notify: Command, settings: Settings, tmp_path: Path) -> None:
    """Secrets are kept in it."""
    notify("migrate")
    (tmp_path / "data").chmod(0o755)

    found = checks(notify("doctor", "--json"))["data folder"]

    assert found["state"] == "warning"
    assert found["remedy"].startswith("chmod go-rwx ")


def test_the_doctor_speaks_to_people_too(notify: Command, settings: Settings, free_port: int) -> None:
    """One line for each part, with the remedy at its end."""
    settings(NS_PORT=str(free_port))

    lines = notify("doctor").out.splitlines()

    assert any(line.startswith("ok") and "database" in line and "SQLite" in line for line in lines)
    assert any(line.startswith("NS_PORT") and line.rstrip().endswith("environment") for line in lines)


def test_the_doctor_sees_a_running_service(at_service: Command) -> None:
    """Its port is in use, by what should be there."""
    found = checks(at_service("doctor", "--json"))["server"]

    assert found["state"] == "ok"
    assert "is ready" in found["detail"]


def test_a_wrong_setting_is_one_line(notify: Command, settings: Settings) -> None:
    """For the doctor as for any command."""
    settings(NS_PORT="eight thousand")

    said = notify("doctor")

    assert said.code == 2
    assert "NS_PORT" in said.err
    assert said.err.count("\n") == 1


def test_help_needs_nothing(notify: Command, settings: Settings) -> None:
    """Not even right settings; and it tells the exit codes."""
    settings(NS_PORT="eight thousand")

    for arguments in ((), ("--help",), ("send", "--help"), ("users", "--help"), ("--version",)):
        assert notify(*arguments).code == 0
    assert "Exit codes:" in notify("--help").out


def test_help_does_not_load_the_service() -> None:
    """What makes `--help` slow is what it imports."""
    import subprocess

    heavy = ["pydantic", "httpx", "sqlalchemy", "fastapi", "starlette", "structlog", "rich.console"]
    code = (
        "import sys; from notification_service.entrypoints.cli import main, processes, token; "
        f"print(*(name for name in {heavy} if name in sys.modules))"
    )

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == ""
