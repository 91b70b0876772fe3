"""Which variables are set, where, and which of them wins."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from dotenv import dotenv_values

from notification_service.settings.errors import SettingsError
from notification_service.settings.fields import PREFIX

type Source = Literal["environment", ".env"]

ENV_FILE = Path(".env")
"""In the working directory of the moment."""

FOR_TESTS = PREFIX + "TEST_"
"""Addresses of servers for the test suite; the service itself doesn't read them."""


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable that is set; its value is not shown by accident."""

    name: str
    value: str = field(repr=False)
    source: Source


def read_variables() -> dict[str, Variable]:
    """Return every variable by its upper-case name: the environment before `.env`; empty means unset."""
    return _set(_lines(ENV_FILE).items(), ".env") | _set(os.environ.items(), "environment")


def first_of(names: Iterable[str], variables: dict[str, Variable]) -> Variable | None:
    """Return the one that wins: the environment beats `.env`, then the earlier name the later."""
    found = [variables[name] for name in names if name in variables]
    return min(found, key=lambda variable: variable.source != "environment", default=None)


def unknown_names(known: Iterable[str], variables: Iterable[str]) -> dict[str, str | None]:
    """Return the `NS_*` variables that nothing reads, each with the known name nearest to it."""
    known = set(known)
    strangers = (name for name in variables if name.startswith(PREFIX) and name not in known)
    return {name: _nearest(name, known) for name in sorted(strangers) if not name.startswith(FOR_TESTS)}


def _lines(env_file: Path) -> dict[str, str | None]:
    try:
        return dotenv_values(env_file) if env_file.is_file() else {}
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or "it is no UTF-8 text"
        raise SettingsError([f".env: cannot be read ({why}); make it readable or remove it"]) from None


def _set(items: Iterable[tuple[str, str | None]], source: Source) -> dict[str, Variable]:
    return {
        name.upper(): Variable(name.upper(), value.strip(), source)
        for name, value in items
        if value is not None and value.strip()
    }


def _nearest(name: str, known: Iterable[str]) -> str | None:
    """Compare without underscores, so that NS_RATELIMIT finds NS_RATE_LIMIT_PER_HOUR."""
    squeezed = {
        other.removeprefix(PREFIX).replace("_", ""): other for other in known if other.startswith(PREFIX)
    }
    wanted = name.removeprefix(PREFIX).replace("_", "")
    starts = [other for text, other in squeezed.items() if wanted and text.startswith(wanted)]
    close = [squeezed[text] for text in get_close_matches(wanted, squeezed, n=1, cutoff=0.7)]
    return next(iter([*close, *starts]), None)
