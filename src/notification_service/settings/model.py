"""The settings as one typed object, checked against one another."""

from datetime import timedelta
from email.utils import parseaddr
from pathlib import Path
from typing import Any, ClassVar, Self, override

from pydantic import SecretStr, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from notification_service.settings import kafka, secret_keys, status_events, urls
from notification_service.settings.fields import LONGEST_RETRY_WAIT, PREFIX, variables_of
from notification_service.settings.sections import (
    Brokers,
    Delivery,
    Limits,
    Process,
    Providers,
    Security,
    Stores,
    Telemetry,
)
from notification_service.settings.variables import Variable, first_of, read_variables, unknown_names

BROKERS = ("embedded", "kafka", "rabbitmq")
KNOWN_PROVIDERS = {
    "email_providers": ("mailbox", "simulated", "smtp"),
    "sms_providers": ("mailbox", "simulated"),
    "push_providers": ("mailbox", "simulated"),
}
SCHEMES = {
    "database_url": ("postgresql", "postgres", "sqlite"),
    "read_database_url": ("postgresql", "postgres", "sqlite"),
    "redis_url": ("redis", "rediss", "unix"),
    "rabbitmq_url": ("amqp", "amqps"),
    "otel_exporter_otlp_endpoint": ("http", "https"),
}
SMTP_SCHEMES = ("smtp", "smtp+starttls", "smtps")
SETTLE_SECONDS = 1.0
"""What a worker needs between the end of an attempt and writing it down, within the lease."""


OF_THE_COMMANDS = ("NS_URL", "NS_TOKEN")
"""What `notify send` and its like read besides: the server to speak to, and as whom."""


# The bases are listed backwards because pydantic collects fields from the last base to the first: the
# environment and the data folder must be known before what depends on them.
class Settings(Telemetry, Limits, Security, Providers, Delivery, Brokers, Stores, Process, BaseSettings):
    """The configuration of one process, complete and checked; made by `load_settings()`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        str_strip_whitespace=True,
    )
    names: ClassVar[frozenset[str]]
    """Every variable that is read, aliases included."""

    @property
    def is_development(self) -> bool:
        """Whether convenience may come before safety."""
        return self.environment == "development"

    @property
    def async_database_url(self) -> str:
        """The database's address with the async driver in it; holds a password."""
        return urls.async_url(self.database_url.get_secret_value())

    @property
    def async_read_database_url(self) -> str:
        """The address for reading, which is the database's own unless there is a replica."""
        return urls.async_url((self.read_database_url or self.database_url).get_secret_value())

    def retry_schedule_for(self, channel: str) -> tuple[timedelta, ...]:
        """Return the waits between attempts; the last one repeats. Never empty."""
        of_channel: tuple[timedelta, ...] | None = getattr(self, f"retry_schedule_{channel}", None)
        return of_channel or self.retry_schedule or self._doubling()

    def hold_ambiguous(self, channel: str) -> bool:
        """Whether a delivery whose ending nobody knows waits for a person instead of being repeated."""
        return bool(getattr(self, f"on_ambiguous_{channel}", "retry") == "hold")

    def unknown_names(self) -> dict[str, str | None]:
        """Return the `NS_*` variables that nothing reads, each with the known name nearest to it."""
        return unknown_names({*self.names, *OF_THE_COMMANDS}, read_variables())

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then our own reading of the environment and `.env`."""
        return init_settings, Variables(settings_cls)

    @field_validator("broker")
    @classmethod
    def _known_broker(cls, value: str) -> str:
        if value not in BROKERS:
            raise ValueError(f"no '{value}' in brokers; choose one of {', '.join(BROKERS)}")
        return value

    @field_validator(*KNOWN_PROVIDERS)
    @classmethod
    def _known_providers(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        field = str(info.field_name)
        known = KNOWN_PROVIDERS[field]
        for name in value:
            if name not in known:
                kind = field.replace("_", " ")
                raise ValueError(f"no '{name}' in {kind}; choose one of {', '.join(known)}")
        if len(set(value)) < len(value):
            raise ValueError("names a provider twice; name each once")
        return value

    @field_validator(*SCHEMES)
    @classmethod
    def _known_scheme[T: SecretStr | str | None](cls, value: T, info: ValidationInfo) -> T:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        known = SCHEMES[str(info.field_name)]
        if text is not None and (urls.scheme_of(text) not in known or "://" not in text):
            raise ValueError(f"must begin with {' or '.join(f'{scheme}://' for scheme in known)}")
        return value

    @field_validator("rabbitmq_url")
    @classmethod
    def _rabbitmq_address(cls, value: SecretStr) -> SecretStr:
        if not urls.has_host(value.get_secret_value()):
            raise ValueError("must name a host, as in amqp://user:password@host:5672/")
        return value

    @field_validator("smtp_url")
    @classmethod
    def _smtp_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        text = value.get_secret_value()
        if text.partition("://")[0].lower() not in SMTP_SCHEMES or not urls.has_host(text):
            wanted = ", ".join(f"{scheme}://" for scheme in SMTP_SCHEMES)
            raise ValueError(f"must begin with one of {wanted} and name a host, as in smtp://localhost:1025")
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not urls.is_redis(value.get_secret_value()):
            raise ValueError(
                "must have the form redis://user:password@host:6379/0, or unix:///path; after a ? only "
                + ", ".join(sorted(urls.REDIS_OPTIONS))
            )
        return value

    @field_validator("email_from", "sendgrid_from_email")
    @classmethod
    def _sender(cls, value: str | None) -> str | None:
        if value is None:
            return None
        _, address = parseaddr(value)
        name, at, domain = address.rpartition("@")
        if not (name and at and domain and value.isprintable()):
            raise ValueError(
                "must be an address, for instance hello@acme.example or Acme <hello@acme.example>"
            )
        return value

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("jwt_secret", "session_secret_key")
    @classmethod
    def _strong_secret(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        text = value.get_secret_value()
        match info.data.get("environment"), info.data.get("data_dir"):
            case "development", Path() as folder if not text:
                return SecretStr(
                    secret_keys.kept_secret(folder, str(info.field_name), secret_keys.new_secret())
                )
            case "staging" | "production", _ if weakness := secret_keys.weakness(text):
                raise ValueError(f"{weakness}; {secret_keys.MAKE_ONE}")
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _strong_webhook_secret(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        text = value.get_secret_value()
        if text and secret_keys.webhook_key(text) is None:
            raise ValueError(f"{secret_keys.webhook_weakness(text)}; {secret_keys.MAKE_WEBHOOK_ONE}")
        match info.data.get("environment"), info.data.get("data_dir"):
            case "development", Path() as folder if not text:
                fresh = secret_keys.new_webhook_secret()
                return SecretStr(secret_keys.kept_secret(folder, "webhook_secret", fresh))
            case "staging" | "production", _ if weakness := secret_keys.webhook_weakness(text):
                raise ValueError(f"{weakness}; {secret_keys.MAKE_WEBHOOK_ONE}")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if problems := self._conflicts():
            raise ValueError("\n".join(problems))
        return self

    def _conflicts(self) -> list[str]:
        uses_smtp = "smtp" in self.email_providers
        checks = {
            "NS_SEND_TIMEOUT_SECONDS: must be at least 1 less than NS_LEASE_SECONDS": (
                self.send_timeout_seconds + SETTLE_SECONDS > self.lease_seconds
            ),
            "NS_SMTP_URL: is missing; NS_EMAIL_PROVIDERS names smtp": uses_smtp and self.smtp_url is None,
            "NS_EMAIL_FROM: is missing; NS_EMAIL_PROVIDERS names smtp": uses_smtp and self.email_from is None,
            "NS_SIMULATED_TRANSIENT_SHARE and NS_SIMULATED_PERMANENT_SHARE: must not exceed 1 together": (
                self.simulated_transient_share + self.simulated_permanent_share > 1
            ),
            "NS_GOOGLE_CLIENT_ID and NS_GOOGLE_CLIENT_SECRET: set both or neither": (
                (self.google_client_id is None) != (self.google_client_secret is None)
            ),
        }
        return [
            *(problem for problem, applies in checks.items() if applies),
            *kafka.conflicts(self),
            *status_events.conflicts(self),
        ]

    def _doubling(self) -> tuple[timedelta, ...]:
        waits = (timedelta(seconds=2 ** min(number, 20)) for number in range(1, max(self.max_retries, 1) + 1))
        return tuple(min(wait, LONGEST_RETRY_WAIT) for wait in waits)


class Variables(PydanticBaseSettingsSource):
    """Takes each setting from the one of its variables that wins."""

    @override
    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the text of one setting, or None."""
        return self._text(field_name, field, read_variables()), field_name, False

    @override
    def __call__(self) -> dict[str, Any]:
        """Return the texts of all settings that are set."""
        variables = read_variables()
        texts = {name: self._text(name, field, variables) for name, field in Settings.model_fields.items()}
        return {name: text for name, text in texts.items() if text is not None}

    @staticmethod
    def _text(name: str, field: FieldInfo, variables: dict[str, Variable]) -> str | None:
        found = first_of(variables_of(name, field), variables)
        return found.value if found else None


Settings.names = frozenset(
    variable for name, field in Settings.model_fields.items() for variable in variables_of(name, field)
)
