"""The alert about a sign-in, made of what another producer wrote."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notification_service.domain.events import UnreadableEventError
from notification_service.domain.sign_in_alert import LONGEST_NAME, sign_in_alert


def test_it_is_an_email_to_the_person() -> None:
    draft = sign_in_alert(email="zoe@example.com", name=" Zoë ")

    assert draft.user_id == "zoe@example.com"
    assert draft.channel["type"] == "email"
    assert draft.body.startswith("Hello Zoë,")


def test_a_person_without_a_name_is_greeted_too() -> None:
    assert sign_in_alert(email="zoe@example.com", name="  ").body.startswith("Hello there,")


def test_a_name_is_text_and_no_template() -> None:
    assert "Hello {name} {0} %s," in sign_in_alert(email="zoe@example.com", name="{name} {0} %s").body


@pytest.mark.parametrize(
    "email", [None, 1, [], {}, "", "zoe", "a@b@c", "zoe@example.com\n", "x" * 300 + "@e.com"]
)
def test_what_is_no_address_is_unreadable_and_not_quoted(email: Any) -> None:
    with pytest.raises(UnreadableEventError) as caught:
        sign_in_alert(email=email, name="Zoë")

    assert str(caught.value) == "'email' is no email address"


@given(st.text() | st.none() | st.integers() | st.lists(st.text()))
def test_any_name_is_one_line_or_unreadable(name: Any) -> None:
    try:
        body = sign_in_alert(email="zoe@example.com", name=name).body
    except UnreadableEventError:
        return
    assert len(name) <= LONGEST_NAME
    assert len(body.splitlines()) == 4
