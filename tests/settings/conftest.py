"""An environment in which nothing is set, and an empty working directory."""

import base64
import os
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from notification_service.settings import Settings

type Write = Callable[[str], None]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, with no setting in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.upper().startswith("NS_") or name.upper() in Settings.names:
            monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def write_env_file(folder: Path) -> Write:
    """Write `.env` in the working directory, readable by its owner alone."""

    def write(text: str) -> None:
        (folder / ".env").write_text(text, encoding="utf-8")
        (folder / ".env").chmod(0o600)

    return write


@pytest.fixture
def production(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set what production asks for, and nothing else."""
    monkeypatch.setenv("NS_ENVIRONMENT", "production")
    monkeypatch.setenv("NS_DATABASE_URL", "postgresql://service:pa55@db/notifications")
    monkeypatch.setenv("NS_JWT_SECRET", secrets.token_urlsafe(48))
    monkeypatch.setenv("NS_SESSION_SECRET_KEY", secrets.token_urlsafe(48))
    monkeypatch.setenv("NS_WEBHOOK_SECRET", "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())
