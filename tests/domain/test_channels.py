"""Addresses and texts: what may be stored, put into a header, or asked for over the network."""

from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from notification_service.domain.channels import (
    CHANNEL_TYPES,
    ChatChannel,
    EmailChannel,
    PushChannel,
    SmsChannel,
    WebhookChannel,
    email_address,
    recipient,
    stored_channel,
    web_url,
)
from notification_service.domain.text import SingleLine, Text

CONTROLS = [chr(code) for code in (*range(0x20), 0x7F, 0x85, 0x9F, 0x2028, 0x2029)]
ANY_TEXT = st.text(st.characters(codec=None, categories=None))  # lone surrogates too
URLISH = st.text(st.sampled_from("htps:/?#@\\[]%.aé0-_~ \t\n\x00\x7f\u2028\ud800")).map("http://{}".format)


def accepted(check: Any, value: str) -> bool:
    """Whether a parser takes the value; it must say ValueError to every other and return what it took."""
    try:
        result = check(value)
    except ValueError:
        return False
    assert result == value
    return True


@given(ANY_TEXT | URLISH)
@example("http://:80")
@example("http://[::1")
@example("http://a:99999/")
@example("http://a:0/")
@example("http://[v1.x]/")
def test_a_url_that_is_taken_leads_to_one_host_and_has_nothing_hidden_in_it(value: str) -> None:
    if accepted(web_url, value):
        parts = urlsplit(value)
        assert parts.scheme in {"http", "https"}
        assert parts.hostname
        assert parts.port is None or 0 < parts.port < 65_536
        assert parts.username is parts.password is None
        assert not [each for each in value if each.isspace() or each in CONTROLS or each == "\\"]
        assert value.encode()


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "https://example.com/",
        "HTTPS://Example.COM/hook?x=1#y",
        "http://127.0.0.1:8080/hook",
        "http://[::1]:8080/hook",
        "https://example.com?x=a@b",
        "https://münchen.example/straße",
        "https://example.com/%00%0a",
    ],
)
def test_ordinary_urls_are_taken(url: str) -> None:
    assert accepted(web_url, url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com",
        "ftp://example.com",
        "http:/example.com",
        "http://",
        "http:///path",
        "https://user@example.com",
        "https://user:password@example.com/",
        "https://example.com\\@evil.example/",
        "https://example.com /",
        " https://example.com",
        "https://example.com\n",
        "https://example.com/a\x00b",
        "https://example.com/\x7f",
    ],
)
def test_what_is_no_absolute_url_or_hides_something_is_refused(url: str) -> None:
    assert not accepted(web_url, url)


@given(ANY_TEXT | st.emails() | st.builds("{}@{}".format, ANY_TEXT, ANY_TEXT))
def test_an_address_that_is_taken_is_one_and_can_stand_in_a_header(value: str) -> None:
    if accepted(email_address, value):
        assert value.count("@") == 1
        assert not [each for each in value if each.isspace() or each in CONTROLS or each in "<>,;"]
        assert value.encode()


@pytest.mark.parametrize("address", ["ann@example.com", "a.b+c@sub.example.org", "zoë@example.com"])
def test_ordinary_addresses_are_taken(address: str) -> None:
    assert accepted(email_address, address)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ann",
        "ann@",
        "@example.com",
        "ann@example.com,bob@example.com",
        "Ann <ann@example.com>",
        "ann@example.com\r\nBcc: bob@example.com",
        " ann@example.com",
        "ann@example.com ",
        "a b@example.com",
        "ann@exa mple.com",
    ],
)
def test_what_is_not_one_plain_address_is_refused(address: str) -> None:
    assert not accepted(email_address, address)


def test_an_address_longer_than_the_column_of_the_contract_is_refused() -> None:
    """320 characters by the contract; a domain's labels have limits of their own."""
    with pytest.raises(ValidationError):
        EmailChannel(to="a" * 309 + "@example.com", subject="x")


@given(ANY_TEXT)
def test_a_single_line_is_one_line_that_every_store_takes(value: str) -> None:
    taken = accepted(TypeAdapter(SingleLine).validate_python, value)

    assert taken == (not set(value) & set(CONTROLS) and not _unprintable(value))
    assert not taken or len(value.splitlines()) <= 1


@given(ANY_TEXT)
def test_a_text_may_have_lines_but_nothing_a_store_refuses(value: str) -> None:
    taken = accepted(TypeAdapter(Text).validate_python, value)

    assert taken == ("\x00" not in value and not any("\ud800" <= each <= "\udfff" for each in value))


@pytest.mark.parametrize("control", CONTROLS)
def test_no_control_character_comes_into_any_address_or_title(control: str) -> None:
    dirty = f"a{control}b"
    attempts: list[tuple[type[Any], dict[str, str]]] = [
        (EmailChannel, {"to": "ann@example.com", "subject": dirty}),
        (EmailChannel, {"to": f"{dirty}@example.com", "subject": "x"}),
        (PushChannel, {"device_token": "token", "title": dirty}),
        (PushChannel, {"device_token": dirty, "title": "x"}),
        (SmsChannel, {"phone_number": f"+491511234567{control}"}),
        (WebhookChannel, {"url": f"https://example.com/{dirty}"}),
        (ChatChannel, {"url": f"slack://{dirty}"}),
    ]

    for channel, fields in attempts:
        with pytest.raises(ValidationError):
            channel(**fields)


@pytest.mark.parametrize(
    ("number", "is_taken"),
    [
        ("+4915112345678", True),
        ("+1234567", True),
        ("+123456789012345", True),
        ("+123456", False),
        ("+1234567890123456", False),
        ("+0123456789", False),
        ("4915112345678", False),
        ("+49 151 12345678", False),
        ("+4915112345678\n", False),
        ("+٤٩١٥١١٢٣٤٥٦", False),
    ],
)
def test_a_phone_number_is_e164_in_ascii_digits(number: str, is_taken: bool) -> None:
    def number_of(value: str) -> str:
        return SmsChannel(phone_number=value).phone_number

    assert accepted(number_of, number) is is_taken


def test_every_type_of_channel_comes_back_from_the_store_as_it_was() -> None:
    stored: list[dict[str, Any]] = [
        {"type": "email", "to": "ann@example.com", "subject": "x"},
        {"type": "sms", "phone_number": "+4915112345678"},
        {"type": "push", "device_token": "token", "title": None},
        {"type": "webhook", "url": "https://example.com"},
        {"type": "chat", "url": "slack://a/b"},
        {"type": "in_app"},
    ]

    channels = [stored_channel(data) for data in stored]

    assert [channel.model_dump() for channel in channels] == stored
    assert [channel.type for channel in channels] == list(CHANNEL_TYPES)
    assert [recipient(channel) for channel in channels] == [
        "ann@example.com",
        "+4915112345678",
        "token",
        "https://example.com",
        "slack://a/b",
        None,
    ]


def _unprintable(value: str) -> bool:
    """Control characters of the second block, and halves of characters."""
    return any("\x7f" <= each <= "\x9f" or "\ud800" <= each <= "\udfff" for each in value)
