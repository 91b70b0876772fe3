"""Turns values from outside into models, and a model's complaints into field and message."""

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from notification_service.domain.channels import CHANNEL_TYPES
from notification_service.domain.errors import InvalidInputError

MESSAGES = {
    "missing": "is required",
    "extra_forbidden": "unknown field",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "dict_type": "must be an object",
    "list_type": "must be a list",
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} items",
    "too_long": "must have at most {max_length} items",
    "string_pattern_mismatch": "does not have the required form",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "union_tag_invalid": "must be one of {expected_tags}; other channels arrive with later releases",
    "union_tag_not_found": "is required",
}
"""What is said for each kind of complaint: pydantic's own words may repeat the input."""


def validated[Model: BaseModel](model: type[Model], value: object) -> Model:
    """Return the value as a model; raises `InvalidInputError`."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise InvalidInputError(problems_in(error.errors(include_url=False, include_input=False))) from None


def problems_in(errors: Iterable[ErrorDetails]) -> dict[str, str]:
    """Map each field's dotted path to what is wrong with it; the first complaint about a field wins."""
    problems: dict[str, str] = {}
    for error in errors:
        problems.setdefault(_field(error), _message(error))
    return problems


def _field(error: ErrorDetails) -> str:
    path = list(_path(error["loc"]))
    match error["type"]:
        case "extra_forbidden":
            path = path[:-1]
        case "union_tag_invalid" | "union_tag_not_found":
            path.append(error["ctx"]["discriminator"].strip("'"))
    return ".".join(path)


def _path(location: tuple[int | str, ...]) -> Iterator[str]:
    """Leave out the tag of the channel's union, which is no part of the body.

    It follows the union's place: the native profile's `channel`, the flat profile's whole body.
    """
    previous: int | str = "channel"
    for part in location:
        if not (previous == "channel" and part in CHANNEL_TYPES):
            yield str(part)
        previous = part


def _message(error: ErrorDetails) -> str:
    context: dict[str, Any] = error.get("ctx", {})
    if error["type"] == "value_error":
        return str(context["error"])
    return MESSAGES.get(error["type"], "is not valid").format_map(context)
