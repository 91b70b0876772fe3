"""Values that somebody might send to see what happens."""

import json
from dataclasses import dataclass
from typing import Any

DEEP = 20_000
LONG = 1024 * 1024


@dataclass(frozen=True)
class Raw:
    """Bytes that stand in a JSON document as they are, whether or not they are JSON."""

    written: bytes


def dump(document: Any) -> bytes:
    """Write a document as JSON, with its raw parts as they are."""
    raws: list[bytes] = []

    def place(value: Any) -> str:
        raws.append(value.written)
        return f"@raw{len(raws) - 1}@"

    written = json.dumps(document, default=place).encode("utf-8", "surrogatepass")
    for number, part in enumerate(raws):
        written = written.replace(f'"@raw{number}@"'.encode(), part, 1)
    return written


def texts(marker: str) -> list[str]:
    """Texts with the marker in them, each an attack on something."""
    return [
        marker,
        "",
        f" {marker} ",
        f"{marker}\r\nX-Injected: 1",
        f"{marker}\nBcc: victim@example.com",
        f"{marker}\x00",
        f"{marker}\x1b[2J\x07",
        f"'; DROP TABLE notifications; --{marker}",
        f"' OR '1'='1' /*{marker}*/",
        f"{marker}' UNION SELECT version(), current_user --",
        f"<script>alert('{marker}')</script>",
        f'"><img src=x onerror={marker}>',
        f"{{{{7*7}}}}{marker}{{{{config}}}}",
        f"${{jndi:ldap://127.0.0.1/{marker}}}",
        f"%s%n%x{marker}",
        f"{marker}$(id)`id`|id",
        f"../../../../etc/passwd%00{marker}",
        f"..\\..\\windows\\win.ini{marker}",
        f"file:///etc/passwd#{marker}",
        f"{marker}\u202e\u200b\ufeff\u2028",
        f"{marker}" + "\u0301" * 500,
        f"{marker}\U0001f469\u200d\U0001f469\u200d\U0001f467",
        f"\ud800{marker}",
        f"\ufffe\uffff{marker}",
        f"{marker}" * 40,
        "x" * 4_001 + marker,
        "x" * 70_000 + marker,
        f"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY {marker} SYSTEM 'file:///etc/passwd'>]>",
        f"__proto__{marker}",
        f"{{marker.__class__.__mro__}}{marker}",
    ]


def addresses(marker: str) -> list[str]:
    """What isn't one email address."""
    return [
        f"{marker}",
        f"{marker}@",
        f"@{marker}.com",
        f"{marker}@example.com, other@example.com",
        f"{marker}@example.com\r\nBcc: other@example.com",
        f"{marker}@exa mple.com",
        f"<{marker}@example.com>",
        f'"{marker}@example.com',
        f"{marker}@[127.0.0.1]",
        f"{marker}@-example.com",
        f"{marker}@example..com",
        f".{marker}@example.com",
        f"{marker}@{'a' * 64}.com",
        f"{marker}@{'example.' * 60}com",
        f"{marker}\x00@example.com",
        f"{marker}@ex\u0430mple.\u202ecom",
        f"{marker}@localhost",
    ]


def phone_numbers(marker: str) -> list[str]:
    """What isn't a phone number in E.164 form."""
    return [
        f"+{marker}",
        "+" + "".join(chr(0x0660 + int(digit)) for digit in "4915112345678"),
        "+" + "".join(chr(0xFF10 + int(digit)) for digit in "4915112345678"),
        "+" + "".join(chr(0x1D7CE + int(digit)) for digit in "4915112345678"),
        "\uff0b4915112345678",
        "+0151123456789",
        "+49 151 12345678",
        "+491511",
        "+4915112345678901234",
        "+4915112345678\n",
        "4915112345678",
        "00491512345678",
        "+49151123456\u00b2\u00b3",
        "",
    ]


def addresses_of_webs(marker: str) -> list[str]:
    """What isn't an absolute URL without credentials."""
    return [
        f"ftp://example.com/{marker}",
        f"javascript:alert('{marker}')",
        f"http://{marker}:secret@example.com/",
        f"//example.com/{marker}",
        f"http:/{marker}",
        f"http:///{marker}",
        f"https://exa mple.com/{marker}",
        f"https://example.com\\@127.0.0.1/{marker}",
        f"https://example.com/{marker}\r\nHost: other",
        f"file:///etc/passwd?{marker}",
        f"gopher://127.0.0.1:70/_{marker}",
        f"https://example.com/{'a' * 2048}{marker}",
        f"/{marker}",
        "",
    ]


def times(marker: str) -> list[str]:
    """What is no time with a zone."""
    return [
        marker,
        "2030-01-31T09:00:00",
        "2030-02-30T09:00:00Z",
        "2030-01-31T25:00:00Z",
        "2030-01-31T09:00:61Z",
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:59-23:59",
        "0001-01-01T00:00:00+23:59",
        "2030-01-31T09:00:00+99:99",
        "2030-01-31",
        "1893456000",
        "\u0662\u0660\u0663\u0660-01-31T09:00:00Z",
        "2030-01-31T09:00:00Z\n",
        "2030-W05-4T09:00:00Z",
        "+292277026596-12-04T15:30:07Z",
        "",
    ]


def numbers() -> list[Raw]:
    """Numbers that aren't, or are too much."""
    written = [
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e999",
        b"-1e999",
        b"1e-999",
        b"-0",
        b"0",
        b"11",
        b"-1",
        b"5.5",
        b"0x10",
        b"01",
        b"+1",
        b".5",
        b"5.",
        b"1_000",
        b"9" * 400,
        b"9" * 5_000,
        b"1" + b"0" * 4_400,
        b"18446744073709551616",
        b"-9223372036854775809",
        b"5e0",
        b"0.1e1",
    ]
    return [Raw(each) for each in written]


def shapes(marker: str) -> list[Any]:
    """Values of another kind than was asked for, and bytes that are no JSON value."""
    word = marker.encode()
    return [
        None,
        True,
        False,
        [],
        {},
        [marker],
        {marker: marker},
        {"type": marker},
        [[marker] * 50] * 50,
        *numbers(),
        Raw(b'"' + word + b'\\ud800"'),
        Raw(b'"\\udc00\\ud800' + word + b'"'),
        Raw(b'"' + word + b'\\u0000"'),
        Raw(b'"' + word + b'\xff\xfe"'),
        Raw(b'"' + word + b'\xed\xa0\x80"'),
        Raw(b'"' + word + b'\xc0\xaf"'),
        Raw(b'"' + word + b'\x00"'),
        Raw(b'"' + word + b'\n"'),
        Raw(b'"' + word + b'\\x41"'),
        Raw(b"'" + word + b"'"),
        Raw(b'{"a":1,"a":2,"' + word + b'":1,"' + word + b'":2}'),
        Raw(b"[" * DEEP + b"]" * DEEP),
        Raw(b'{"a":' * 3_000 + b"1" + b"}" * 3_000),
        Raw(b"[" * 300 + b"]" * 300),
        Raw(b"undefined"),
        Raw(b"// " + word + b"\n1"),
        Raw(word),
        Raw(b""),
    ]


def large(marker: str) -> list[Any]:
    """Values of a megabyte."""
    return ["x" * LONG + marker, [marker] * 20_000, {f"{marker}{number}": "x" for number in range(5_000)}]
