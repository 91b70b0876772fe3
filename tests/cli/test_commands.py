"""What people and scripts type, against a running service."""

import io
import json
import sys
import time
from datetime import UTC, datetime, timedelta

import jwt
import pytest

from tests.cli.conftest import Command, Service

UUID = "01990000-0000-7000-8000-000000000000"


def data(said: object) -> object:
    return json.loads(said.out)  # type: ignore[attr-defined]


def test_send_hands_over_what_was_said(at_service: Command) -> None:
    """Every option arrives, and the answer is the resource."""
    said = at_service(
        "send", "--to", "ann@example.com", "--user", "ann", "--subject", "Hello", "--body", "How are you?",
        "--metadata", "campaign=spring", "--metadata", "formula=a=b", "--priority", "9",
        "--reference", "r-1", "--at", "2h", "--json",
    )  # fmt: skip
    found = data(said)

    assert said.code == 0
    assert found["user_id"] == "ann"
    assert found["channel"] == {"type": "email", "to": "ann@example.com", "subject": "Hello"}
    assert found["metadata"] == {"campaign": "spring", "formula": "a=b"}
    assert (found["priority"], found["reference"]) == (9, "r-1")
    assert (found["status"], found["status_reason"]) == ("pending", "scheduled")


def test_send_takes_its_text_from_a_pipe(at_service: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first line becomes the subject unless one is given."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("A headline\nand more\n"))

    found = data(at_service("send", "--to", "ann@example.com", "--json"))

    assert found["body"] == "A headline\nand more"
    assert found["channel"]["subject"] == "A headline"


@pytest.mark.parametrize(
    ("address", "channel"),
    [
        (("--sms", "+4915112345678"), {"type": "sms", "phone_number": "+4915112345678"}),
        (("--push", "a-token"), {"type": "push", "device_token": "a-token", "title": "hi"}),
        (("--webhook", "https://example.com/x"), {"type": "webhook", "url": "https://example.com/x"}),
    ],
)
def test_send_knows_every_channel(at_service: Command, address: tuple[str, str], channel: object) -> None:
    """By the option that gives the address."""
    found = data(at_service("send", *address, "--body", "hi", "--at", "1d", "--json"))

    assert found["channel"] == channel


def test_send_with_a_key_can_be_repeated(at_service: Command) -> None:
    """The second answer is the first one."""
    command = ("send", "--to", "ann@example.com", "--body", "once", "--idempotency-key", "k-1", "--json")

    first, second = data(at_service(*command)), data(at_service(*command))

    assert first["id"] == second["id"]


def test_send_and_wait_succeeds_when_it_is_sent(at_service: Command) -> None:
    """A script can go by the exit code."""
    said = at_service("send", "--to", "ann@example.com", "--body", "hello", "--wait", "--json")

    assert said.code == 0
    assert data(said)["status"] == "sent"


def test_send_and_wait_fails_when_it_fails(at_service: Command) -> None:
    """The reason is on stdout like everything else about it."""
    said = at_service("send", "--sms", "+4915112345678", "--body", "hello", "--wait")

    assert said.code == 1
    assert "failed (provider_rejected)" in said.out


def test_send_and_wait_gives_up_in_time(at_service: Command) -> None:
    """What isn't final yet is no failure: exit code 6 says that it is worth asking again."""
    said = at_service(
        "send", "--to", "a@example.com", "--body", "x", "--at", "1h", "--wait", "--timeout", "1"
    )

    assert said.code == 6
    assert "notify status" in said.err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--body", "x"), "name one receiver"),
        (("--to", "a@example.com", "--sms", "+4915112345678", "--body", "x"), "name one receiver"),
        (("--to", "nobody", "--body", "x"), "to: must be one email address"),
        (("--to", "a@example.com", "--body", ""), "body:"),
        (("--to", "a@example.com", "--body", "x", "--metadata", "nonsense"), "'nonsense' is not KEY=VALUE"),
        (("--to", "a@example.com", "--body", "x", "--at", "soon"), "'soon' is no time"),
        (("--to", "a@example.com", "--body", "x", "--usr", "a"), "No such option: --usr"),
    ],
)
def test_a_wrong_command_is_one_line(at_service: Command, arguments: tuple[str, ...], problem: str) -> None:
    """Whether the command line or the server notices."""
    said = at_service("send", *arguments)

    assert said.code == 2
    assert said.err.startswith("notify: ")
    assert problem in said.err
    assert said.err.count("\n") == 1


def test_a_mistyped_command_names_the_nearest(notify: Command) -> None:
    """One line, exit code 2."""
    said = notify("sned")

    assert said.code == 2
    assert said.err == "notify: No such command 'sned'. Did you mean 'send'? (see notify --help)\n"


def test_status_shows_every_attempt(at_service: Command) -> None:
    """For a person as a table, for a script as JSON."""
    sent = data(at_service("send", "--sms", "+4915112345678", "--body", "hello", "--wait", "--json"))

    person = at_service("status", sent["id"])
    script = data(at_service("status", sent["id"], "--json"))

    assert person.code == 0
    assert "permanent_error" in person.out
    assert "simulated" in person.out
    assert script["notification"]["status"] == "failed"
    assert [each["outcome"] for each in script["attempts"]] == ["permanent_error"]


def test_status_watches_until_the_end(at_service: Command) -> None:
    """A line of JSON for each state, the last one final."""
    sent = data(at_service("send", "--to", "ann@example.com", "--body", "hello", "--json"))

    said = at_service("status", sent["id"], "--watch", "--json")

    states = [json.loads(line)["notification"]["status"] for line in said.out.splitlines()]
    assert states[-1] == "sent"
    assert len(states) == len(set(states))


@pytest.mark.parametrize(("identifier", "code"), [(UUID, 4), ("nonsense", 2)])
def test_status_of_nothing_says_so(at_service: Command, identifier: str, code: int) -> None:
    """An unknown id and one that is none are told apart by the exit code."""
    assert at_service("status", identifier).code == code


def test_no_server_is_one_line(notify: Command, free_port: int) -> None:
    """It says how to start one, with exit code 3."""
    said = notify("send", "--to", "a@example.com", "--body", "x", "--url", f"http://127.0.0.1:{free_port}")

    assert said.code == 3
    assert said.err.startswith(f"notify: no server answers at http://127.0.0.1:{free_port}; start it")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(("url", "code"), [("ftp://x", 2), ("nonsense", 2)])
def test_a_wrong_address_is_one_line(notify: Command, url: str, code: int) -> None:
    """Before anything is sent."""
    said = notify("status", UUID, "--url", url, "--token", "x")

    assert said.code == code
    assert said.err.count("\n") == 1


def test_a_wrong_token_is_not_allowed(at_service: Command) -> None:
    """Exit code 5, and what may be the reason."""
    said = at_service("status", UUID, "--token", "nonsense")

    assert said.code == 5
    assert "NS_JWT_SECRET" in said.err


def test_address_and_token_are_read_from_dot_env(
    service: Service, notify: Command, app_token: Command, settings: object, tmp_path: object
) -> None:
    """Like every other setting; an option beats both."""
    settings(NS_DATA_DIR=str(service.folder / "data"))  # type: ignore[operator]
    user = app_token("--user", "zoe").out.strip()
    settings()  # type: ignore[operator]
    (tmp_path / ".env").write_text(f"NS_URL={service.url}\nNS_TOKEN={user}\n")  # type: ignore[operator]

    own = notify("send", "--to", "z@example.com", "--user", "zoe", "--body", "x")
    other = notify("send", "--to", "z@example.com", "--user", "ann", "--body", "x")

    assert own.code == 0
    assert other.code == 5
    assert "cannot send notifications for other users" in other.err


def test_tail_prints_every_change(at_service: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """New ones and new states, one line of JSON each; Ctrl-C ends it well."""
    looks = iter(range(8))
    sleep = time.sleep
    sent: list[str] = []

    def look_again(seconds: float) -> None:
        if next(looks, None) is None:
            raise KeyboardInterrupt
        if not sent:
            from notification_service.entrypoints.cli.client import client

            with client(None, None) as server:
                channel = {"type": "email", "to": "t@example.com", "subject": "x"}
                soon = (datetime.now(UTC) + timedelta(seconds=1.5)).isoformat()
                body = {"user_id": "tailed", "channel": channel, "body": "x", "scheduled_for": soon}
                sent.append(server.post("/v1/notifications", body)["id"])
        sleep(seconds)

    monkeypatch.setattr("notification_service.entrypoints.cli.status.time.sleep", look_again)

    said = at_service("tail", "--json", "--user", "tailed")

    changes = [json.loads(line) for line in said.out.splitlines()]
    assert said.code == 0
    assert {each["id"] for each in changes} == set(sent)
    assert (changes[0]["status"], changes[-1]["status"]) == ("pending", "sent")


def test_dead_letters_are_listed_and_redriven(at_service: Command) -> None:
    """By id, then by filter; what was redriven is no longer listed, and a second time is refused."""
    for user in ("dora", "dirk"):
        at_service("send", "--sms", "+4915112345678", "--user", user, "--body", "x", "--wait")
    letters = {each["user_id"]: each for each in data(at_service("dead-letters", "--json"))}

    one = at_service("redrive", letters["dora"]["id"])
    again = at_service("redrive", letters["dora"]["id"])
    redriven = data(at_service("dead-letters", "--redriven", "--json"))
    everything = data(at_service("redrive", "--all", "--channel", "sms", "--json"))

    assert (one.code, one.out) == (0, "redriven: 1\n")
    assert again.code == 1
    assert letters["dora"]["id"] in {each["id"] for each in redriven}
    assert everything["redriven"] >= 1


def test_dead_letters_are_a_table_for_people(at_service: Command) -> None:
    """With what a person needs to decide, on one line each."""
    at_service("send", "--sms", "+4915112345678", "--user", "dana", "--body", "x", "--wait")

    said = at_service("dead-letters", "--reason", "provider_rejected", "--since", "1h")

    [line] = [line for line in said.out.splitlines() if " dana " in line]
    assert "provider_rejected" in line
    assert at_service("dead-letters", "--until", "30d").err == "no dead letters\n"


def test_an_unknown_reason_is_refused(at_service: Command) -> None:
    """By the server, in one line."""
    said = at_service("dead-letters", "--reason", "boredom")

    assert said.code == 2
    assert said.err.startswith("notify: reason: ")


@pytest.mark.parametrize("arguments", [(), (UUID, "--all"), (UUID, "--reason", "expired")])
def test_redrive_needs_to_know_what(at_service: Command, arguments: tuple[str, ...]) -> None:
    """Ids or --all, never both and never neither."""
    said = at_service("redrive", *arguments)

    assert said.code == 2
    assert "--all" in said.err


def test_redriving_all_asks_a_person_first(at_service: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """«No» changes nothing; --yes doesn't ask; a script is not asked either."""
    at_service("send", "--sms", "+4915112345678", "--user", "dave", "--body", "x", "--wait")
    before = data(at_service("dead-letters", "--json"))

    class Person(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Person("n\n"))
    refused = at_service("redrive", "--all")
    after = data(at_service("dead-letters", "--json"))
    agreed = at_service("redrive", "--all", "--yes")

    assert refused.code == 1
    assert "nothing was done" in refused.err
    assert [each["id"] for each in after] == [each["id"] for each in before]
    assert agreed.code == 0


def test_a_token_speaks_for_anybody(app_token: Command, settings: object) -> None:
    """Just the token, so that it can stand in $(…); it has the settings' claims."""
    settings(NS_JWT_SECRET="q" + "1aB2cD3eF4gH5iJ6kL7mN8oP9rS0tU1v", NS_JWT_ISSUER="us")  # type: ignore[operator]

    said = app_token("--user", "who ever", "--role", "admin", "--ttl", "60")

    assert said.code == 0, said.err
    claims = jwt.decode(said.out.strip(), options={"verify_signature": False})
    assert said.out.count("\n") == 1
    assert (claims["sub"], claims["role"], claims["iss"]) == ("who ever", "admin", "us")
    assert 60 <= claims["exp"] - claims["iat"] <= 61
    assert {"jti"} <= claims.keys()


def test_a_token_can_be_asked_for_as_json(app_token: Command) -> None:
    """With what it is for."""
    found = data(app_token("--user", "ann", "--json"))

    assert (found["user"], found["role"], found["expires_in"]) == ("ann", "user", 3600)


@pytest.mark.parametrize("arguments", [(), ("--user", "a", "--role", "king"), ("--user", "a", "--ttl", "0")])
def test_a_wrong_token_command_is_one_line(app_token: Command, arguments: tuple[str, ...]) -> None:
    """Exit code 2, and nothing on stdout that could pass for a token."""
    said = app_token(*arguments)

    assert (said.code, said.out) == (2, "")
    assert said.err.count("\n") == 1
