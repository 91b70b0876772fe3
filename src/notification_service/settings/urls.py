"""Addresses of databases and servers: rewritten for the async drivers, shown without passwords."""

import re
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

DRIVERS = {"postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg", "sqlite": "sqlite+aiosqlite"}
ONLY_LIBPQ = frozenset({"channel_binding", "gssencmode"})
"""Parts of a PostgreSQL address that asyncpg doesn't know and that may be left out."""
REDIS_OPTIONS = frozenset(
    {"db", "ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"}
)
"""What may stand in the query of a Redis address; redis-py fails late over others."""


def scheme_of(url: str) -> str:
    """Return the scheme in lower case, without the driver."""
    return url.partition("://")[0].partition("+")[0].lower()


def async_url(url: str) -> str:
    """Name the async driver in a database address; libpq's `sslmode` becomes asyncpg's `ssl`."""
    rest = url.partition("://")[2]
    driver = DRIVERS[scheme_of(url)]
    address, _, query = rest.partition("?")
    if not query or scheme_of(url) == "sqlite":
        return f"{driver}://{rest}"
    pairs = [("ssl" if key == "sslmode" else key, value) for key, value in parse_qsl(query)]
    query = urlencode([pair for pair in pairs if pair[0] not in ONLY_LIBPQ])
    return f"{driver}://{address}?{query}" if query else f"{driver}://{address}"


def sqlite_url(path: Path) -> str:
    """Return the address of a SQLite file."""
    return f"sqlite:///{path}"


def without_password(url: str) -> str:
    """Return the address as it may be shown: no password, no token, no query."""
    shown = re.sub(r"(?<=://)([^/?#@]*?):([^/?#]*)@", r"\1:***@", url).partition("?")[0]
    return re.sub(r"(?<=://):\*\*\*@", "***@", shown)


def has_host(url: str) -> bool:
    """Whether the address names a host and a usable port."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def is_redis(url: str) -> bool:
    """Whether redis-py can use the address as it is meant: it takes a database it can't read for number 0."""
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
    except ValueError:
        return False
    if not url.startswith(("redis://", "rediss://", "unix://")) or not options.keys() <= REDIS_OPTIONS:
        return False
    if not options.get("db", "0").isdecimal():
        return False
    if parts.scheme == "unix":
        return len(parts.path) > 1
    return has_host(url) and re.fullmatch(r"/?[0-9]*", parts.path) is not None
