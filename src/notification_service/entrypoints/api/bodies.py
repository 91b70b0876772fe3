"""The body guard: nothing reaches a model before its kind, its size and its form are right."""

import asyncio
import re
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl

import jiter
from starlette.requests import ClientDisconnect, Request

from notification_service.domain.errors import InvalidInputError, NotificationServiceError
from notification_service.entrypoints.api.problems import (
    BodyTimeoutError,
    BodyTooLargeError,
    NotAFormError,
    NotJsonError,
)

BODY_PATIENCE = timedelta(seconds=20)
"""From the request's first byte of body to its last."""
LARGEST_FORM = 16_384
MOST_FORM_FIELDS = 20


async def read_json(request: Request, *, limit: int) -> Any:
    """Return the JSON document in the body, at most `limit` bytes of it.

    Strict: UTF-8, no NaN, no key twice in an object, no lone surrogates, no deep nesting, nothing after it.
    """
    _require_type(request, "application/json", NotJsonError)
    return parse_json(await _read(request, limit))


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a URL-encoded form; one given twice is refused."""
    _require_type(request, "application/x-www-form-urlencoded", NotAFormError)
    return parse_pairs(await _read(request, LARGEST_FORM), most=MOST_FORM_FIELDS)


def parse_json(data: bytes) -> Any:
    """Return what the bytes mean; raises `InvalidInputError` without repeating any of them."""
    try:
        return jiter.from_json(data, allow_inf_nan=False, catch_duplicate_keys=True)
    except ValueError as error:
        raise InvalidInputError({"": _what_is_wrong(data, str(error))}) from None


def parse_pairs(data: bytes, *, most: int) -> dict[str, str]:
    """Return the names and values of a query or a form; a name given twice is refused."""
    try:
        pairs = parse_qsl(
            data.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(data),
            errors="strict",
            max_num_fields=most,
        )
    except ValueError:
        raise InvalidInputError({"": "must be name=value pairs in URL-encoded UTF-8"}) from None
    if len(found := dict(pairs)) < len(pairs):
        raise InvalidInputError({"": "names the same field twice"})
    return found


def _what_is_wrong(data: bytes, complaint: str) -> str:
    if not data.strip():
        return "must be a JSON document; the body is empty"
    if complaint.startswith("Detected duplicate key"):
        return "an object has the same key twice"
    where = re.search(r"at line \d+ column \d+$", complaint)
    return f"is not valid JSON ({where[0]})" if where else "is not valid JSON"


def _require_type(request: Request, wanted: str, error: type[NotificationServiceError]) -> None:
    values = [value for name, value in request.scope["headers"] if name == b"content-type"]
    encoding = request.headers.get("content-encoding", "identity")
    if len(values) != 1 or encoding.strip().lower() != "identity":
        raise error
    if values[0] == wanted.encode():
        return
    kind, *parameters = values[0].decode("latin-1").split(";")
    if kind.strip().lower() != wanted or not all(map(_is_harmless, parameters)):
        raise error


def _is_harmless(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    return name.strip().lower() != "charset" or value.strip().strip('"').lower() in {"utf-8", "utf8"}


async def _read(request: Request, limit: int) -> bytes:
    # Digits alone: a server refuses any other length before it comes this far.
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise BodyTooLargeError
    try:
        async with asyncio.timeout(BODY_PATIENCE.total_seconds()):
            return await _receive(request, limit)
    except TimeoutError:
        raise BodyTimeoutError from None


async def _receive(request: Request, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise BodyTooLargeError
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)
