"""Turns the environment into settings, or into one line for each thing that is wrong."""

from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from notification_service.settings.errors import SettingsError
from notification_service.settings.fields import variables_of
from notification_service.settings.model import Settings
from notification_service.settings.variables import first_of, read_variables

LONGEST_EXCERPT = 60


def load_settings(**given: Any) -> Settings:
    """Return the settings of this process; raises `SettingsError` when they don't allow a start.

    What is `given`, by the settings' names, stands above the environment and `.env`.
    """
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError(problems_of(error)) from None


def problems_of(error: ValidationError) -> list[str]:
    """Return one line for each problem; a secret's value is in none of them."""
    details = error.errors(include_url=False)
    lines = [_line(detail) for detail in details if detail["type"] != "default_factory_not_called"]
    return [part for line in lines for part in line.splitlines()]


def _line(detail: ErrorDetails) -> str:
    message = detail["msg"].removeprefix("Value error, ")
    if not detail["loc"]:
        return message  # of the settings together: one line for each conflict, with its names
    message = " ".join(message.split())
    name = str(detail["loc"][0])
    field = Settings.model_fields.get(name)
    if field is None:
        return f"{name}: is no setting"
    if detail["type"] == "value_error":
        return f"{_variable(name)}: {message}"
    problem = message.replace("Input should", "should", 1)
    return f"{_variable(name)}: {problem}{_excerpt(name, detail['input'])}; {_meaning(name)}"


def _variable(name: str) -> str:
    """Return the variable a person wrote, or the one to write."""
    names = variables_of(name, Settings.model_fields[name])
    found = first_of(names, read_variables())
    return found.name if found else names[0]


def _excerpt(name: str, value: object) -> str:
    if "SecretStr" in str(Settings.model_fields[name].annotation):
        return ""
    return f", not {str(value)[:LONGEST_EXCERPT]!r}"


def _meaning(name: str) -> str:
    field = Settings.model_fields[name]
    return f"it is: {(field.description or '').replace('`', '')}"
