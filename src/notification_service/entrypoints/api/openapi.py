"""The OpenAPI document: FastAPI's, completed by the models which the routes name."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from notification_service.entrypoints.api import answers, flat_models, requests, sign_in_form
from notification_service.entrypoints.api.describe import REFERENCE
from notification_service.entrypoints.api.problems import Problem

SENT: tuple[type[BaseModel], ...] = (
    requests.NotificationRequest,
    requests.BulkRequest,
    requests.RedriveRequest,
    flat_models.FlatRequest,
    sign_in_form.SignInForm,
)
ANSWERED: tuple[type[BaseModel], ...] = (
    Problem,
    answers.NotificationAnswer,
    answers.NotificationPage,
    answers.BulkAnswer,
    answers.HistoryAnswer,
    answers.DeadLetterAnswer,
    answers.DeadLetterPage,
    answers.RedrivenAnswer,
    answers.MailboxMessageAnswer,
    answers.MailboxPage,
    answers.TokenAnswer,
    answers.HealthAnswer,
    answers.ReadinessAnswer,
    flat_models.FlatAnswer,
    flat_models.FlatPage,
)
ABOUT = """\
Accepts notifications over HTTP, delivers them later, and keeps what became of each.

Send a token as `Authorization: Bearer …`: `POST /v1/auth/token` gives one. Every error is
`application/problem+json` (RFC 9457) with a `code` for programs, the `request_id` and, for a 422, `errors`.
Every answer carries `X-Request-ID` and `X-Correlation-ID`. Every path also answers with a trailing slash.
"""


def document(app: FastAPI) -> dict[str, Any]:
    """Return the document, made once for each application."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title,
            version=app.version,
            openapi_version="3.1.0",
            description=ABOUT,
            routes=app.routes,
        )
        _, models = models_json_schema(
            [(model, "validation") for model in SENT] + [(model, "serialization") for model in ANSWERED],
            ref_template=REFERENCE,
        )
        made["components"] = {"schemas": models["$defs"], "securitySchemes": {"bearer": _BEARER}}
        app.openapi_schema = made
    return app.openapi_schema


_BEARER = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
