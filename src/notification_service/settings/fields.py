"""How one setting is declared and how its text is read."""

import re
from collections.abc import Iterable
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic.fields import FieldInfo

PREFIX = "NS_"
LONGEST_RETRY_WAIT = timedelta(days=1)

type Network = IPv4Network | IPv6Network
type Environment = Literal["development", "staging", "production"]


def setting(
    default: Any = ...,
    description: str = "",
    *,
    also: Iterable[str] = (),
    shown: str | None = None,
    **constraints: Any,
) -> Any:
    """Declare a setting.

    `also` names variables that are read when the prefixed one is absent; `shown` is the default as the
    reference prints it, where the value itself says too little.
    """
    extra: dict[str, Any] = {"also": tuple(also), "shown": shown}
    return Field(default, description=description, json_schema_extra=extra, **constraints)


def variables_of(name: str, field: FieldInfo) -> tuple[str, ...]:
    """Return the environment variables a setting is read from, the first one winning."""
    return (PREFIX + name.upper(), *_extra(field).get("also", ()))


def shown_default(field: FieldInfo) -> str | None:
    """Return the default as the reference should print it, or None to print the value itself."""
    shown: str | None = _extra(field).get("shown")
    return shown


def _extra(field: FieldInfo) -> dict[str, Any]:
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}


def _split(value: object) -> object:
    """Read a comma separated list; anything but text is passed on as it is."""
    return (
        tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
    )


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _networks(value: object) -> object:
    parts = _split(value)
    if not isinstance(parts, Iterable):
        return parts
    return tuple(_network(part) for part in parts)


def _network(value: Any) -> Network:
    try:
        return ip_network(value, strict=False)
    except ValueError:
        raise ValueError(f"'{value}' is no network; write for instance 127.0.0.0/8") from None


def _waits(value: object) -> object:
    parts = _split(value)
    if not isinstance(parts, tuple):
        return parts
    if not parts:
        raise ValueError("needs at least one number of seconds, for instance 2,4,8")
    return tuple(_wait(part) for part in parts)


def _wait(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    longest = LONGEST_RETRY_WAIT.total_seconds()
    seconds = float(value) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", str(value)) else -1.0
    if not 0 < seconds <= longest:
        raise ValueError(f"'{value}' is no wait of 0 to {longest:.0f} seconds; write for instance 2,4,8")
    return timedelta(seconds=seconds)


type Lower[T] = Annotated[T, BeforeValidator(_lower)]
type Upper[T] = Annotated[T, BeforeValidator(_upper)]
type Names = Annotated[tuple[str, ...], BeforeValidator(_split), BeforeValidator(_lower)]
type Networks = Annotated[tuple[Network, ...], BeforeValidator(_networks)]
type Waits = Annotated[tuple[timedelta, ...], BeforeValidator(_waits)]
