"""Errors explain themselves."""

import re

import pytest

from notification_service.domain import errors
from notification_service.domain.errors import DeliveryError, InvalidInputError, NotificationServiceError

PLAIN = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type)
    and issubclass(kind, NotificationServiceError)
    and not issubclass(kind, DeliveryError | InvalidInputError)
]


@pytest.mark.parametrize("kind", PLAIN)
def test_an_error_without_details_says_what_its_class_says(kind: type[NotificationServiceError]) -> None:
    assert str(kind()) == kind.__doc__
    assert str(kind("more to say")) == "more to say"


@pytest.mark.parametrize("kind", PLAIN)
def test_a_code_is_short_and_countable(kind: type[NotificationServiceError]) -> None:
    assert re.fullmatch(r"[a-z_]{3,40}", kind.code)
