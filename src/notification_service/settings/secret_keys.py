"""Secrets: judged outside development, made once and kept in the data folder in development."""

import base64
import os
import re
import secrets
import tempfile
from binascii import Error as Base64Error
from pathlib import Path

from notification_service.settings.errors import SettingsError

SHORTEST_SECRET_BYTES = 32
FEWEST_CHARACTERS = 8
WEBHOOK_PREFIX = "whsec_"
MAKE_ONE = "set it to the output of: openssl rand -base64 48"
MAKE_WEBHOOK_ONE = f"set it to {WEBHOOK_PREFIX} and the output of: openssl rand -base64 32"

WELL_KNOWN = (
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",  # FastAPI's tutorial
    "mfkq9r8gkyqrtwjupd8ilpzio2lalasw",  # Standard Webhooks' examples
    "your256bitsecret",  # jwt.io, before 2025
    "astringsecret",  # jwt.io, since 2025
    "changeme",
    "changethis",
    "replaceme",
    "replacethis",
    "yoursecret",
    "yoursupersecret",
    "mysecret",
    "supersecret",
    "secretkey",
    "jwtsecret",
    "sessionsecret",
    "developmentsecret",
    "devsecret",
    "testsecret",
    "insecure",
    "donotuse",
    "placeholder",
    "example",
    "password",
    "0123456789abcdef",
    "abcdefghijklmnop",
)
"""Pieces of secrets that stand in tutorials and sample files, in lower case without punctuation."""


def weakness(value: str) -> str | None:
    """Say what is wrong with a secret as it would be used outside development, or None."""
    if not value:
        return "is missing"
    if len(value.encode()) < SHORTEST_SECRET_BYTES:
        return f"is shorter than {SHORTEST_SECRET_BYTES} bytes"
    plain = re.sub(r"[^a-z0-9]", "", value.lower())
    if any(known in plain for known in WELL_KNOWN) or len(set(value)) < FEWEST_CHARACTERS:
        return "is well known or easy to guess"
    return None


def webhook_weakness(value: str) -> str | None:
    """Say what is wrong with a webhook secret, whose key is the decoded base64, or None."""
    if not value:
        return "is missing"
    key = webhook_key(value)
    if key is None:
        return f"does not have the form {WEBHOOK_PREFIX}<base64>"
    if len(key) < SHORTEST_SECRET_BYTES:
        return f"holds fewer than {SHORTEST_SECRET_BYTES} bytes"
    return weakness(value.removeprefix(WEBHOOK_PREFIX))


def webhook_key(value: str) -> bytes | None:
    """Decode the key of a Standard Webhooks secret; None when it doesn't have that form."""
    if not value.startswith(WEBHOOK_PREFIX):
        return None
    try:
        return base64.b64decode(value.removeprefix(WEBHOOK_PREFIX), validate=True) or None
    except Base64Error:
        return None


def new_secret() -> str:
    """Make 48 random bytes as text, enough for every JWT algorithm."""
    return secrets.token_urlsafe(48)


def new_webhook_secret() -> str:
    """Make a Standard Webhooks secret of 32 random bytes."""
    return WEBHOOK_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def kept_secret(folder: Path, name: str, fresh: str) -> str:
    """Return the secret kept under `name`, which is `fresh` when there was none.

    Safe when many processes start at once: all of them get the same one. Only the owner can read the file.
    """
    private_folder(folder)
    path = folder / name
    try:
        if not path.exists():
            _keep(path, fresh)
        kept = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            [f"NS_DATA_DIR: cannot keep secrets in it ({_why(error)}); choose another"]
        ) from None
    if len(kept) < SHORTEST_SECRET_BYTES:
        raise SettingsError([f"NS_DATA_DIR: the file '{name}' in it is damaged; delete it and start again"])
    return kept


def private_folder(folder: Path) -> None:
    """Create the folder, if need be, so that only its owner can look into it and git ignores it."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700)
        (folder / ".gitignore").write_text("*\n", encoding="ascii")
    except OSError as error:
        if folder.is_dir():  # since long, or another process was faster
            return
        raise SettingsError([f"NS_DATA_DIR: cannot be created ({_why(error)}); choose another"]) from None


def _keep(path: Path, value: str) -> None:
    """Write beside it and link: the name appears with its whole content, and the first one wins."""
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(value)
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    finally:
        Path(draft).unlink()


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
