"""The API as the commands see it: what goes wrong is one line and an exit code."""

from collections.abc import Iterator
from typing import Any, Self

import httpx

from notification_service.domain.people import Role
from notification_service.entrypoints.addresses import reachable_url
from notification_service.entrypoints.cli.configuration import operator, settings_with, variable
from notification_service.entrypoints.cli.console import CommandError, ExitCode, in_words

TIMEOUT = httpx.Timeout(30, connect=5)
PAGE = 100

type Json = dict[str, Any]


class Client:
    """Speaks to one server as one person; every failure is a `CommandError`."""

    def __init__(self, url: str, token: str) -> None:
        """Speak to the server at `url` with `token`."""
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url,
            headers={"authorization": f"Bearer {token}", "user-agent": "notify"},
            timeout=TIMEOUT,
        )

    def __enter__(self) -> Self:
        """Keep the connection until the block ends."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._http.close()

    def get(self, path: str, **query: Any) -> Json:
        """Return what is there; parameters that are None are left out."""
        return self._ask(
            "GET", path, params={name: value for name, value in query.items() if value is not None}
        )

    def post(self, path: str, body: Json | None = None, *, key: str | None = None) -> Json:
        """Return the answer to a POST; a `key` makes repeating it harmless."""
        headers = {"idempotency-key": key} if key else {}
        return self._ask("POST", path, json=body, headers=headers)

    def pages(self, path: str, *, most: int, **query: Any) -> Iterator[Json]:
        """Yield at most `most` rows of a list, page by page."""
        cursor = None
        while most > 0:
            page = self.get(path, limit=min(most, PAGE), cursor=cursor, **query)
            yield from page["data"][:most]
            most -= len(page["data"])
            cursor = page["next_cursor"]
            if not page["has_more"]:
                return

    def _ask(self, method: str, path: str, **details: Any) -> Json:
        try:
            answer = self._http.request(method, path, **details)
        except httpx.InvalidURL as error:
            raise CommandError(f"'{self.url}' is no address: {error}", ExitCode.USAGE) from None
        except httpx.UnsupportedProtocol:
            raise CommandError(f"'{self.url}' must begin with http:// or https://", ExitCode.USAGE) from None
        except httpx.ConnectError:
            raise CommandError(_nobody(self.url), ExitCode.UNREACHABLE) from None
        except httpx.HTTPError as error:
            problem = f"{self.url} did not answer ({type(error).__name__}); it may have done it all the same"
            raise CommandError(problem, ExitCode.UNREACHABLE) from None
        return self._read(answer)

    def _read(self, answer: httpx.Response) -> Json:
        try:
            data = answer.json()
        except ValueError:
            data = None
        if not isinstance(data, dict):
            problem = f"{self.url} answered {answer.status_code} without JSON; is it a notification service?"
            raise CommandError(problem, ExitCode.UNREACHABLE)
        if answer.is_success:
            return data
        raise CommandError(_problem(answer, data), _code(answer.status_code))


def client(url: str | None, token: str | None) -> Client:
    """Return a client for the server and the person that options, NS_URL, NS_TOKEN or the settings name.

    Without a token one is made here, for an administrator with the name of this machine's user.
    """
    url, token = url or variable("NS_URL"), token or variable("NS_TOKEN")
    return Client(url or _own_url(), token or _own_token())


def _own_url() -> str:
    settings = settings_with()
    return reachable_url(settings.host, settings.port)


def _own_token() -> str:
    from notification_service.entrypoints.cli.tokens import mint  # noqa: PLC0415 - not paid for with --token

    return mint(settings_with(), operator(), Role.ADMIN)


def _nobody(url: str) -> str:
    return (
        f"no server answers at {url}; start it with `notify up` or `app`, or name another with --url (NS_URL)"
    )


def _problem(answer: httpx.Response, data: Json) -> str:
    """Return the answer's own words, with what to do where the service can't know it."""
    errors = in_words((each.get("field", ""), each.get("message", "")) for each in data.get("errors") or ())
    said = errors or data.get("detail") or data.get("title") or f"the server answered {answer.status_code}"
    match answer.status_code:
        case 401:
            return f"{said}; the server has another NS_JWT_SECRET, or --token (NS_TOKEN) is wrong"
        case 429 | 503 if answer.headers.get("retry-after"):
            return f"{said} (in {answer.headers['retry-after']} s)"
        case _:
            return str(said)


def _code(status: int) -> ExitCode:
    codes = {
        400: ExitCode.USAGE,
        401: ExitCode.NOT_ALLOWED,
        403: ExitCode.NOT_ALLOWED,
        404: ExitCode.NOT_FOUND,
        422: ExitCode.USAGE,
        429: ExitCode.TRY_LATER,
        503: ExitCode.TRY_LATER,
    }
    return codes.get(status, ExitCode.FAILED)
