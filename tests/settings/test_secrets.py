"""Secrets: required outside development, made once in development, shown nowhere."""

import base64
import multiprocessing
import stat
import warnings
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from pydantic import ValidationError

from notification_service.settings import Settings, SettingsError, describe, load_settings
from notification_service.settings.loading import problems_of
from notification_service.settings.secret_keys import kept_secret, new_secret, weakness, webhook_weakness

SECRETS = ("jwt_secret", "session_secret_key", "webhook_secret")
CANARY = "canary-Wq8-f3k"


def whsec(key: bytes) -> str:
    return "whsec_" + base64.b64encode(key).decode()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_in_development_secrets_are_made_once_and_kept() -> None:
    first, second = load_settings(), load_settings()

    assert [getattr(first, name) for name in SECRETS] == [getattr(second, name) for name in SECRETS]
    assert len({getattr(first, name).get_secret_value() for name in SECRETS}) == 3


def test_secrets_made_in_development_are_strong() -> None:
    settings = load_settings()

    assert weakness(settings.jwt_secret.get_secret_value()) is None
    assert weakness(settings.session_secret_key.get_secret_value()) is None
    assert webhook_weakness(settings.webhook_secret.get_secret_value()) is None


def test_only_the_owner_can_read_what_is_kept(folder: Path) -> None:
    load_settings()

    assert mode(folder / "data") == 0o700
    assert {name: mode(folder / "data" / name) for name in SECRETS} == dict.fromkeys(SECRETS, 0o600)


def test_git_ignores_what_is_kept_and_no_draft_is_left_over(folder: Path) -> None:
    load_settings()

    assert (folder / "data" / ".gitignore").read_text() == "*\n"
    assert {path.name for path in (folder / "data").iterdir()} == {".gitignore", *SECRETS}


def test_a_secret_that_is_set_is_not_replaced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", "short, which development allows")

    assert load_settings().jwt_secret.get_secret_value() == "short, which development allows"
    assert not (folder / "data" / "jwt_secret").exists()


def test_a_data_folder_that_exists_already_is_left_as_it_is(folder: Path) -> None:
    (folder / "data").mkdir(mode=0o755)
    (folder / "data" / "mine.txt").touch()

    load_settings()

    assert mode(folder / "data") == 0o755
    assert not (folder / "data" / ".gitignore").exists()


def start(folder: Path, ready: Barrier, answers: Queue[tuple[str, ...]]) -> None:
    ready.wait(timeout=50)
    answers.put(tuple(kept_secret(folder, f"secret {number}", new_secret()) for number in range(50)))


def test_ten_processes_that_start_at_once_get_the_same_secrets(folder: Path) -> None:
    """A file appears with its whole content or not at all, and the first one stays."""
    context = multiprocessing.get_context("fork")
    ready, answers = context.Barrier(10), context.Queue()
    processes = [context.Process(target=start, args=(folder / "new", ready, answers)) for _ in range(10)]

    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # the children touch no lock
        for process in processes:
            process.start()
    got = {answers.get(timeout=50) for _ in processes}
    for process in processes:
        process.join(timeout=10)

    assert len(got) == 1
    assert len(set(*got)) == 50


@pytest.mark.parametrize("left_over", ["", "half"])
def test_a_damaged_secret_is_named_instead_of_used(folder: Path, left_over: str) -> None:
    load_settings()
    (folder / "data" / "jwt_secret").write_text(left_over)

    with pytest.raises(
        SettingsError, match=r"NS_DATA_DIR: the file 'jwt_secret' in it is damaged; delete it"
    ):
        load_settings()


def test_a_data_folder_that_is_a_file_is_refused(folder: Path) -> None:
    (folder / "data").touch()

    with pytest.raises(
        SettingsError, match=r"NS_DATA_DIR: cannot be created \(File exists\); choose another"
    ):
        load_settings()


def test_a_data_folder_that_cannot_be_made_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "file").touch()
    monkeypatch.setenv("NS_DATA_DIR", str(folder / "file" / "data"))

    with pytest.raises(SettingsError, match=r"NS_DATA_DIR: cannot be created .*; choose another"):
        load_settings()


@pytest.mark.usefixtures("production")
def test_production_starts_with_strong_secrets_and_keeps_nothing(folder: Path) -> None:
    load_settings()

    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("production")
@pytest.mark.parametrize("environment", ["staging", "production"])
@pytest.mark.parametrize("name", SECRETS)
def test_outside_development_a_missing_secret_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, environment: str
) -> None:
    monkeypatch.setenv("NS_ENVIRONMENT", environment)
    monkeypatch.delenv(f"NS_{name.upper()}")

    with pytest.raises(SettingsError, match=rf"^NS_{name.upper()}: is missing; set it to .*openssl rand"):
        load_settings()

    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("production")
@pytest.mark.parametrize("name", ["NS_JWT_SECRET", "NS_SESSION_SECRET_KEY"])
@pytest.mark.parametrize(
    "value",
    [
        "cofYgSBQGWMbA_MQSbQmoxXSA7gv_FC",
        "change-me-change-me-change-me-change-me",
        "your-secret-key-here-must-be-long-enough",
        "your-256-bit-secret-your-256-bit-secret",
        "a-string-secret-at-least-256-bits-long",
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
        "Super_Secret_Super_Secret_Super_Secret",
        "0123456789abcdef0123456789abcdef",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ],
)
def test_outside_development_a_short_or_well_known_secret_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError) as caught:
        load_settings()

    assert str(caught.value).startswith(f"{name}: is ")
    assert value not in str(caught.value)


@pytest.mark.usefixtures("production")
@pytest.mark.parametrize(
    "value",
    [
        whsec(bytes(range(100, 131))),
        whsec(b"a" * 32),
        "whsec_",
        "whsec_not base64 at all, whatever it may be",
        base64.b64encode(bytes(range(100, 132))).decode(),
    ],
)
def test_outside_development_a_bad_webhook_secret_is_refused(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("NS_WEBHOOK_SECRET", value)

    with pytest.raises(SettingsError, match=r"^NS_WEBHOOK_SECRET: ") as caught:
        load_settings()

    assert len(str(caught.value).splitlines()) == 1


def test_even_in_development_a_webhook_secret_must_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NS_WEBHOOK_SECRET", "hello")

    with pytest.raises(SettingsError, match="NS_WEBHOOK_SECRET: does not have the form whsec_<base64>"):
        load_settings()


@pytest.mark.parametrize(
    "name", [name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)]
)
def test_no_secret_is_shown_anywhere(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Whatever holds a secret shows it neither in a refusal, nor in a description, nor in its repr."""
    value = f"redis://ann:{CANARY}@host/?token={CANARY}" if name.endswith("_url") else CANARY
    monkeypatch.setenv(f"NS_{name.upper()}", value)
    monkeypatch.setenv("NS_SMTP_URL", f"smtp://ann:{CANARY}@mail?{CANARY}")

    shown = []
    try:
        settings = load_settings()
    except SettingsError as error:
        shown = [str(error), repr(error)]
    else:
        shown = [repr(settings), str(settings), *(repr(line) for line in describe(settings))]

    assert shown
    assert not [text for text in shown if CANARY in text]


def test_a_secret_of_the_wrong_kind_is_not_quoted() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(sendgrid_api_key=4711_0815)

    (line,) = problems_of(caught.value)

    assert line.startswith("NS_SENDGRID_API_KEY: should be a valid string; ")
    assert "4711" not in line
