"""Bad inputs without end: valid requests, each with something wrong, from one seed."""

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

from tests.fuzz import hostile
from tests.fuzz.cases import FORM, JSON, Caller, Case, raw, request

ID = "01890a5d-ac96-774b-bcce-b302099a8057"
QUERIES = {
    "/v1/notifications": (
        "status",
        "channel",
        "user_id",
        "created_after",
        "created_before",
        "reference",
        "limit",
        "cursor",
    ),
    "/v1/dead-letters": ("reason", "channel", "since", "until", "redriven", "limit", "cursor"),
    "/v1/mailbox": ("to", "channel", "notification_id", "since", "limit", "cursor"),
    "/notifications": ("status", "page", "per_page"),
}
BY_ID = (
    "/v1/notifications/{}",
    "/v1/notifications/{}/attempts",
    "/v1/notifications/{}/cancel",
    "/v1/notifications/{}/retry",
    "/v1/dead-letters/{}/redrive",
    "/v1/mailbox/{}",
)
SITE = frozenset({"/sign-in", "/mailbox/clear", "/logout"})
POSTS = ("/v1/notifications", "/v1/notifications/bulk", "/notifications", "/v1/dead-letters/redrive")
METHODS = ("PUT", "PATCH", "DELETE", "TRACE", "OPTIONS", "HEAD", "PROPFIND", "GET", "POST", "LOCK", "MERGE")
ODD_BYTES = (b"%", b"%0", b"%ZZ", b"%00", b"%C3", b"%ff%fe", b"%u0041", b"%25%30%30", b"+", b"%ED%A0%80")


class Generator:
    """Makes cases; the same ones for the same seed and marker."""

    def __init__(self, seed: int, caller: Caller) -> None:
        self._dice = random.Random(seed)
        self._caller = caller
        self._marker = caller.marker
        self._texts = hostile.texts(self._marker)
        self._shapes = hostile.shapes(self._marker)
        self._special = {
            "to": hostile.addresses(self._marker),
            "recipient": hostile.addresses(self._marker) + hostile.phone_numbers(self._marker),
            "phone_number": hostile.phone_numbers(self._marker),
            "url": hostile.addresses_of_webs(self._marker),
            "scheduled_for": hostile.times(self._marker),
            "expires_at": hostile.times(self._marker),
            "since": hostile.times(self._marker),
            "until": hostile.times(self._marker),
        }
        self._makers: tuple[tuple[int, Callable[[], Case]], ...] = (
            (50, self._with_a_bad_value),
            (10, self._with_broken_bytes),
            (12, self._with_a_bad_query),
            (10, self._with_a_bad_path),
            (10, self._with_a_bad_header),
            (3, self._with_a_wrong_method),
            (2, self._with_a_bad_form),
            (4, self._with_broken_http),
        )

    def cases(self) -> Iterator[Case]:
        """Go on for ever."""
        weights, makers = zip(*self._makers, strict=True)
        while True:
            [make] = self._dice.choices(makers, weights)
            yield make()

    # --- bodies -------------------------------------------------------------------------------------

    def _with_a_bad_value(self) -> Case:
        path, document = self._valid()
        for _ in range(self._dice.choice((1, 1, 1, 2, 3))):
            self._spoil(document)
        if self._dice.random() < 0.002:
            document["body"] = self._dice.choice(hostile.large(self._marker))
        return self._post("bad value", path, hostile.dump(document))

    def _with_broken_bytes(self) -> Case:
        path, document = self._valid()
        body = bytearray(hostile.dump(document))
        at = self._dice.randrange(len(body))
        match self._dice.randrange(8):
            case 0:
                del body[at:]
            case 1:
                body[at] = self._dice.randrange(256)
            case 2:
                body[at:at] = self._dice.randbytes(self._dice.randrange(1, 9))
            case 3:
                body += self._dice.choice((b"}", b",", b"null", b"\x00", b"{}", self._marker.encode()))
            case 4:
                body[:0] = b"\xef\xbb\xbf"
            case 5:
                body = bytearray(body.decode().encode(self._dice.choice(("utf-16", "utf-32", "utf-7"))))
            case 6:
                body = bytearray(bytes(body).replace(b'"', b"'"))
            case _:
                body[:] = self._dice.randbytes(self._dice.randrange(64))
        return self._post("broken bytes", path, bytes(body))

    def _with_a_bad_form(self) -> Case:
        text = _quoted(self._dice.choice(self._texts))
        odd = self._dice.choice((*ODD_BYTES, self._marker.encode(), b"\xff", b"&&==", b"a=1&a=2", text, text))
        fields = [b"username=" + odd, b"password=%00" + odd, b"grant_type=" + odd, odd + b"=1", odd]
        body = b"&".join(self._dice.sample(fields, self._dice.randrange(1, 5)))
        path = self._dice.choice(("/v1/auth/token", "/sign-in", "/mailbox/clear", "/logout"))
        return request("bad form", "POST", path, headers=FORM, body=body, is_page=path in SITE)

    def _valid(self) -> tuple[str, dict[str, Any]]:
        path = self._dice.choice(POSTS)
        native = {
            "user_id": "fuzz",
            "channel": self._channel(),
            "body": "text",
            "metadata": {"key": "value"},
            "priority": 5,
            "scheduled_for": "2026-01-31T09:00:00Z",
            "expires_at": None,
            "reference": "r",
            "category": "c",
        }
        documents: dict[str, dict[str, Any]] = {
            "/v1/notifications": native,
            "/v1/notifications/bulk": {"notifications": [native, copy.deepcopy(native)]},
            "/notifications": {
                "channel": self._dice.choice(("email", "sms", "push", "webhook")),
                "recipient": "fuzz@example.com",
                "subject": "s",
                "body": "text",
                "metadata": {"key": [1, {"a": None}]},
            },
            "/v1/dead-letters/redrive": {
                "reason": "provider_rejected",
                "channel": "email",
                "since": "2030-01-31T09:00:00Z",
                "until": "2030-01-31T09:00:00Z",
                "limit": 1,
            },
        }
        return path, documents[path]

    def _channel(self) -> dict[str, Any]:
        return self._dice.choice(
            (
                {"type": "email", "to": "fuzz@example.com", "subject": "s"},
                {"type": "sms", "phone_number": "+4915112345678"},
                {"type": "push", "device_token": "token", "title": "t"},
                {"type": "webhook", "url": "https://example.com/hook"},
                {"type": "chat", "url": "slack://a/b/c"},
                {"type": "in_app"},
            )
        )

    def _spoil(self, document: dict[str, Any]) -> None:
        place: Any = document
        while True:
            keys: list[Any] = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = self._dice.choice(keys) if keys else None
            deeper = isinstance(place[key], dict | list) and place[key] if key is not None else None
            if not deeper or self._dice.random() < 0.25:
                break
            place = deeper
        self._damage(place, key)

    def _damage(self, place: Any, key: Any) -> None:
        chance = self._dice.random()
        if isinstance(place, dict) and (key is None or chance < 0.1):
            place[self._dice.choice(self._texts)] = self._bad_value("")
        elif isinstance(place, dict) and chance < 0.2:
            del place[key]
        elif key is not None:
            place[key] = self._bad_value(key)

    def _bad_value(self, key: Any) -> Any:
        special = self._special.get(key) if isinstance(key, str) else None
        if special and self._dice.random() < 0.5:
            return self._dice.choice(special)
        chosen = self._dice.choice(self._texts if self._dice.random() < 0.5 else self._shapes)
        return copy.deepcopy(chosen)  # it may be spoiled further

    def _post(self, name: str, path: str, body: bytes) -> Case:
        who = self._caller.admin if path.endswith("redrive") else self._caller.user
        return request(name, "POST", path, headers={**JSON, **who}, body=body)

    # --- the head -----------------------------------------------------------------------------------

    def _with_a_bad_query(self) -> Case:
        path = self._dice.choice(tuple(QUERIES))
        pairs = [self._pair(path) for _ in range(self._dice.randrange(1, 4))]
        query = self._dice.choice((b"&", b"&", b";", b"&&")).join(pairs)
        return request("bad query", "GET", path.encode() + b"?" + query, headers=self._caller.admin)

    def _pair(self, path: str) -> bytes:
        names = [*QUERIES[path], self._marker, "limit[]", "$where", "status%00"]
        value = self._dice.choice(
            (
                *ODD_BYTES,
                self._marker.encode(),
                _quoted(self._dice.choice(self._texts)),
                _quoted(self._dice.choice(hostile.times(self._marker))),
                b"",
                b"0",
                b"-1",
                b"1e3",
                b"999999999999999999999",
                b"%D9%A1",
                b"a" * 3_000,
            )
        )
        return self._dice.choice(names).encode() + self._dice.choice((b"=", b"=", b"=", b"==", b"")) + value

    def _with_a_bad_path(self) -> Case:
        odd = self._dice.choice(
            (
                *ODD_BYTES,
                self._marker.encode(),
                _quoted(self._dice.choice(self._texts)),
                b"..",
                b"%2e%2e%2f%2e%2e%2fetc%2fpasswd",
                b"..%5c..%5c",
                b"%2F" + ID.encode(),
                ID.upper().encode() + self._marker.encode(),
                ID.replace("-", "").encode(),
                b"{" + ID.encode() + b"}",
                _quoted(ID.replace("0", "\u0660")),
                b"0" * 36,
                b"-1",
                b"\xff\xfe",
                b"a" * 2_000,
                b";" + self._marker.encode(),
                b"/" + ID.encode(),
            )
        )
        template = self._dice.choice(
            (*BY_ID, "/{}", "/v1/{}", "/static/1/{}", "/link/{}", "/v1//{}", "/docs/{}", "/mailbox/{}")
        )
        before, _, after = template.encode().partition(b"{}")
        method = "POST" if after in {b"/cancel", b"/retry", b"/redrive"} else "GET"
        return request(
            "bad path",
            method,
            before + odd + after,
            headers=self._caller.admin,
            is_page=template.startswith("/link/"),
        )

    def _with_a_bad_header(self) -> Case:
        name = self._dice.choice(
            (
                "Idempotency-Key",
                "X-Request-ID",
                "X-Correlation-ID",
                "Authorization",
                "Content-Type",
                "Content-Encoding",
                "Accept",
                "Cookie",
                "traceparent",
                "X-Forwarded-For",
                "Range",
                "If-None-Match",
                "Expect",
                "X-HTTP-Method-Override",
                "Origin",
                self._marker,
            )
        )
        value = self._header_value(name)
        path, document = self._valid()
        kept = {**JSON, **self._caller.user}
        kept.pop(name, None)
        twice = ((name, value),) * (2 if self._dice.random() < 0.1 else 1)
        return request(f"bad {name}", "POST", path, headers=kept, more=twice, body=hostile.dump(document))

    def _header_value(self, name: str) -> bytes:
        word = self._marker.encode()
        values = [
            b"",
            b" ",
            word * 100,
            word + b"\xff\xfe",
            word + b"\x7f",
            word + b" with space",
            word + "\u00e9\u4e16".encode(),
            b"Bearer " + word,
            b"Bearer " + word + b"." + word + b"." + word,
            b"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9." + word,
            b"Basic " + word,
            b"bearer",
            b"application/" + word,
            b"application/json; charset=utf-16; " + word,
            b"application/json, " + word,
            b"multipart/form-data; boundary=" + word,
            b"text/html, " + word,
            b"gzip, " + word,
            b"session=" + word + b"; csrf=" + word,
            b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01" + word,
        ]
        if name in {"X-Request-ID", "X-Correlation-ID"}:  # a good one is returned and logged, as promised
            values = [b"", b" ", word * 100, word + b"\xff", word + b" x", word + b"\x7f", b"a" * 129 + word]
        return self._dice.choice(values)

    def _with_a_wrong_method(self) -> Case:
        path = self._dice.choice((*POSTS, *QUERIES, *BY_ID, "/health", "/metrics", "/openapi.json", "/docs"))
        target = path.format(ID) + self._dice.choice(("", "/", "?" + self._marker))
        method = self._dice.choice(METHODS)
        body = b"" if method in {"GET", "HEAD", "OPTIONS", "TRACE"} else b"{}"
        return request("wrong method", method, target, headers={**JSON, **self._caller.admin}, body=body)

    # --- below HTTP ---------------------------------------------------------------------------------

    def _with_broken_http(self) -> Case:
        path, document = self._valid()
        sent = bytearray(self._post("", path, hostile.dump(document)).sent)
        at = self._dice.randrange(len(sent))
        match self._dice.randrange(5):
            case 0:
                return raw("half a request", bytes(sent[:at]), ending="hang up")
            case 1:
                sent[at] = self._dice.randrange(256)
            case 2:
                head_end = sent.index(b"\r\n\r\n")
                sent[self._dice.randrange(head_end)] = self._dice.choice(b"\x00\r\n\t :\xff")
            case 3:
                sent[at:at] = self._dice.randbytes(20)
            case _:
                sent = bytearray(self._dice.randbytes(self._dice.randrange(1, 300))) + b"\r\n\r\n"
        return raw("broken HTTP", bytes(sent))


def _quoted(text: str) -> bytes:
    """Write a text in percent form, byte by byte."""
    return b"".join(b"%%%02X" % byte for byte in text.encode("utf-8", "surrogatepass")[:1_500])
