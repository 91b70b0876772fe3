"""How a route describes itself in the OpenAPI document."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel

from notification_service.entrypoints.api.problems import PROBLEM_TYPE
from notification_service.entrypoints.api.queries import NoQuery, Query

REFERENCE = "#/components/schemas/{model}"
BEARER: dict[str, list[str]] = {"bearer": []}

RATE_LIMIT = {
    "RateLimit-Limit": "Notifications to this receiver in any 60 minutes",
    "RateLimit-Remaining": "How many more there may be now",
    "RateLimit-Reset": "Seconds until the window is empty",
}
REPLAYED = {
    "Idempotency-Replayed": "`true` when this answer was kept from the first request: it counts against no "
    "limit and carries no RateLimit headers"
}
WAIT = {"Retry-After": "Seconds to wait before the next try"}
HEADERS_OF: dict[int, dict[str, str]] = {429: RATE_LIMIT | WAIT, 503: WAIT}
REASONS = {
    401: "No token, or a bad one",
    403: "The caller may not do this",
    404: "There is nothing under this id",
    408: "The body did not arrive in time",
    409: "The state forbids it, or the first request with this Idempotency-Key is still running",
    413: "The body is too large",
    415: "The body is of another type",
    422: "Something in the request is wrong: `errors` says where",
    429: "Too many for this receiver within an hour",
    503: "A part the service needs is out of reach, or it is overloaded",
}
BODY_ERRORS = (408, 413, 415)
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The caller's name for this request: a repeat gets the first answer again (24 h)",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}


def described(
    summary: str,
    *,
    answer: type[BaseModel] | None,
    status: int = 200,
    body: type[BaseModel] | None = None,
    form: type[BaseModel] | None = None,
    query: type[Query] = NoQuery,
    errors: Iterable[int] = (),
    has_id: bool = False,
    idempotent: bool = False,
    counted: bool = False,
    is_public: bool = False,
) -> dict[str, Any]:
    """Return what FastAPI is told about a route.

    Every route may answer 422 and 503, one with a token also 401, one with a body what bodies may cause.
    `counted` answers carry the rate limit's headers.
    """
    statuses = {422, 503, *errors, *(() if is_public else (401,)), *(BODY_ERRORS if body or form else ())}
    headers = REPLAYED if idempotent else {}
    parameters = [*([ID] if has_id else []), *([IDEMPOTENCY_KEY] if idempotent else []), *_parameters(query)]
    return {
        "summary": summary,
        "status_code": status,
        "response_model": None,
        "responses": {
            status: _response(HTTPStatus(status).phrase, answer, headers | (RATE_LIMIT if counted else {})),
            **{code: _problem(code) for code in sorted(statuses)},
        },
        "openapi_extra": {
            "parameters": parameters,
            "security": [] if is_public else [BEARER],
            **_request_body(body, form),
        },
    }


def public(summary: str, responses: dict[int, type[BaseModel] | str]) -> dict[str, Any]:
    """Return what FastAPI is told about a route without a token: a model or a media type for each status."""
    return {
        "summary": summary,
        "response_model": None,
        "responses": {
            code: {"description": HTTPStatus(code).phrase, "content": _content(kind)}
            for code, kind in responses.items()
        },
        "openapi_extra": {"security": []},
    }


def reference_to(model: type[BaseModel]) -> dict[str, str]:
    """Return the reference to a model of the document."""
    return {"$ref": REFERENCE.format(model=model.__name__)}


def _content(kind: type[BaseModel] | str) -> dict[str, Any]:
    if isinstance(kind, str):
        return {kind: {"schema": {"type": "object" if kind == "application/json" else "string"}}}
    return {"application/json": {"schema": reference_to(kind)}}


def _response(meaning: str, answer: type[BaseModel] | None, headers: dict[str, str]) -> dict[str, Any]:
    described: dict[str, Any] = {"description": meaning, "headers": _headers(headers)}
    return described | ({"content": _content(answer)} if answer else {})


def _problem(status: int) -> dict[str, Any]:
    return {
        "description": REASONS[status],
        "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        "headers": _headers(HEADERS_OF.get(status, {})),
    }


def _headers(headers: dict[str, str]) -> dict[str, Any]:
    return {
        name: {"description": meaning, "required": False, "schema": {"type": "string"}}
        for name, meaning in headers.items()
    }


def _request_body(body: type[BaseModel] | None, form: type[BaseModel] | None) -> dict[str, Any]:
    model, kind = (body, "application/json") if body else (form, "application/x-www-form-urlencoded")
    if model is None:
        return {}
    return {"requestBody": {"required": True, "content": {kind: {"schema": reference_to(model)}}}}


def _parameters(query: type[Query]) -> list[dict[str, Any]]:
    schema = query.model_json_schema()
    definitions = schema.get("$defs", {})
    return [
        {"name": name, "in": "query", "required": False, **_parameter(described, definitions)}
        for name, described in schema.get("properties", {}).items()
    ]


def _parameter(described: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """A parameter that isn't given is absent, not null; and each stands alone, without references."""
    options = [option for option in described.get("anyOf", [described]) if option.get("type") != "null"]
    schema = definitions.get(options[0].get("$ref", "").rpartition("/")[2], {}) | options[0]
    schema = {key: value for key, value in schema.items() if key not in {"$ref", "title", "description"}}
    if described.get("default") is not None:
        schema = schema | {"default": described["default"]}
    return {"schema": schema} | (
        {"description": described["description"]} if "description" in described else {}
    )
