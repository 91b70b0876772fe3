"""What the settings are, where they come from and which of them are risky, for `notify doctor`."""

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from notification_service.settings import secret_keys
from notification_service.settings.fields import variables_of
from notification_service.settings.model import Settings
from notification_service.settings.urls import scheme_of, without_password
from notification_service.settings.variables import ENV_FILE, first_of, read_variables

HASH_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
PRETENDING = frozenset({"mailbox", "simulated"})
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True)
class SettingLine:
    """One setting as a person may see it."""

    name: str
    value: str
    """Without passwords and secrets."""
    source: str
    """`default`, `environment`, `.env`, or `argument` when the program set it."""
    description: str


NOT_YET = frozenset(
    {
        "retention_days",
        "sendgrid_api_key",
        "sendgrid_from_email",
        "twilio_account_sid",
        "twilio_auth_token",
        "google_client_id",
        "google_client_secret",
    }
)
"""Settings whose parts arrive later: what is set in vain is said, not ignored."""


def describe(settings: Settings) -> list[SettingLine]:
    """Return every setting with its value, masked where it is secret, and where it comes from."""
    variables = read_variables()
    lines = []
    for name, field in Settings.model_fields.items():
        names = variables_of(name, field)
        found = first_of(names, variables)
        unset = "argument" if name in settings.model_fields_set else "default"
        source = found.source if found else unset
        lines.append(SettingLine(names[0], shown(getattr(settings, name)), source, field.description or ""))
    return lines


def shown(value: Any) -> str:
    """Return a value as a person writes it; secrets masked, addresses without their password."""
    match value:
        case SecretStr():
            text = value.get_secret_value()
            return without_password(text) if "://" in text else "********"
        case None | ():
            return ""
        case timedelta():
            return shown(value.total_seconds())
        case tuple():
            return ",".join(shown(part) for part in value)
        case _:
            return str(value).lower() if isinstance(value, bool) else str(value).removesuffix(".0")


def warnings(settings: Settings) -> list[str]:
    """Return one line for each setting that is allowed and yet risky or without effect."""
    found = [*_without_effect(settings), *_readable_by_others(settings)]
    if settings.is_development:
        return [*found, *_weak_secrets(settings)]
    return [*found, *_loose(settings), *_pretending(settings)]


def _without_effect(settings: Settings) -> Iterator[str]:
    for name, nearest in settings.unknown_names().items():
        yield f"{name}: is no setting" + (f"; did you mean {nearest}?" if nearest else "")
    for name in sorted(NOT_YET.intersection(settings.model_fields_set)):
        yield f"NS_{name.upper()}: has no effect yet; it belongs to a later release"
    if settings.api_processes > 1 and settings.redis_url is None:
        yield (
            "NS_API_PROCESSES: each process counts its own rate limits, which are so many times higher; "
            "set NS_REDIS_URL"
        )


def _readable_by_others(settings: Settings) -> Iterator[str]:
    for name, path in (("NS_DATA_DIR", settings.data_dir), (".env", ENV_FILE)):
        if _others_can_read(path):
            yield f"{name}: other users of this machine can read it; run: chmod go-rwx {path}"


def _others_can_read(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
    except OSError:
        return False


def _weak_secrets(settings: Settings) -> Iterator[str]:
    for name in ("jwt_secret", "session_secret_key"):
        if weakness := secret_keys.weakness(getattr(settings, name).get_secret_value()):
            yield f"NS_{name.upper()}: {weakness}; refused outside development"
    if weakness := secret_keys.webhook_weakness(settings.webhook_secret.get_secret_value()):
        yield f"NS_WEBHOOK_SECRET: {weakness}; refused outside development"


def _loose(settings: Settings) -> Iterator[str]:
    if settings.debug:
        yield "NS_DEBUG: is on outside development"
    if settings.rate_limit_fail_open:
        yield "NS_RATE_LIMIT_FAIL_OPEN: nothing is limited while the limiter is out of reach"
    if settings.webhook_allowed_networks:
        yield "NS_WEBHOOK_ALLOWED_NETWORKS: webhooks may reach private addresses, over plain http too"
    smtp = settings.smtp_url.get_secret_value() if settings.smtp_url else ""
    if scheme_of(smtp) == "smtp" and "+" not in smtp.partition("://")[0] and not _is_local(smtp):
        yield "NS_SMTP_URL: smtp:// sends unencrypted where the server offers no STARTTLS; use smtp+starttls://"
    if len(settings.jwt_secret.get_secret_value().encode()) < HASH_BYTES[settings.jwt_algorithm]:
        yield f"NS_JWT_SECRET: is shorter than {settings.jwt_algorithm} asks for (RFC 7518, section 3.2)"


def _is_local(url: str) -> bool:
    return without_password(url).partition("://")[2].rpartition("@")[2].startswith(LOCAL_HOSTS)


def _pretending(settings: Settings) -> Iterator[str]:
    for name in ("email_providers", "sms_providers", "push_providers"):
        providers = getattr(settings, name)
        for provider in sorted(PRETENDING.intersection(providers)):
            yield f"NS_{name.upper()}: {provider} sends nothing to anybody"
    if not settings.email_providers:
        yield "NS_EMAIL_PROVIDERS: is empty, so emails are refused"
