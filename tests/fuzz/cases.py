"""One input: the bytes that are sent, and what may come back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

type Ending = Literal["answer", "anything", "hang up"]
"""What a case waits for: an answer; whatever comes within a moment; nothing, it hangs up at once."""

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True, kw_only=True)
class Case:
    """An input, by name."""

    name: str
    sent: bytes
    statuses: frozenset[int] = field(default_factory=frozenset)
    """When not empty, the answer has to be one of these."""
    ending: Ending = "answer"
    is_framed: bool = True
    """Whether it is exactly one request, so that its connection stays usable."""
    has_body: bool = True
    """Whether its answer has a body (HEAD's has none)."""
    is_page: bool = False
    """Whether a browser asks: errors may be HTML."""


@dataclass(frozen=True, kw_only=True)
class Caller:
    """What requests are made from: tokens, and the marker that must never come back."""

    user: Mapping[str, str]
    admin: Mapping[str, str]
    marker: str


def request(
    name: str,
    method: str | bytes,
    target: str | bytes,
    *,
    headers: Mapping[str, str | bytes] | None = None,
    more: tuple[tuple[str | bytes, str | bytes], ...] = (),
    body: bytes | None = None,
    statuses: tuple[int, ...] = (),
    is_page: bool = False,
) -> Case:
    """Make one complete request; `more` are headers that may stand there twice."""
    lines = [
        (b"Host", b"127.0.0.1"),
        *((_bytes(key), _bytes(value)) for key, value in (headers or {}).items()),
    ]
    lines += [(_bytes(key), _bytes(value)) for key, value in more]
    if body is not None:
        lines.append((b"Content-Length", str(len(body)).encode()))
    head = _bytes(method) + b" " + _bytes(target) + b" HTTP/1.1\r\n"
    head += b"".join(key + b": " + value + b"\r\n" for key, value in lines)
    return Case(
        name=name,
        sent=head + b"\r\n" + (body or b""),
        statuses=frozenset(statuses),
        has_body=_bytes(method) != b"HEAD",
        is_page=is_page,
    )


def raw(name: str, sent: bytes, *, ending: Ending = "anything", statuses: tuple[int, ...] = ()) -> Case:
    """Make something that need not be HTTP; it gets a connection of its own."""
    return Case(name=name, sent=sent, ending=ending, is_framed=False, statuses=frozenset(statuses))


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


def native(**changed: Any) -> dict[str, Any]:
    email = {"type": "email", "to": "fuzz@example.com", "subject": "s"}
    return {"user_id": "fuzz", "channel": email, "body": "text"} | changed
