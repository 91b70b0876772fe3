"""The OpenAPI document agrees with the service."""

import re
from typing import Any

import httpx
import jsonschema_rs
import pytest
from fastapi.routing import APIRoute

from notification_service.entrypoints.api import answers, problems
from notification_service.entrypoints.api.openapi import document
from tests.api.rig import Api, email

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture
def openapi(api: Api) -> dict[str, Any]:
    return document(api.app)


def _operations(openapi: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, operations in openapi["paths"].items()
        for method, operation in operations.items()
    ]


def _conforms(openapi: dict[str, Any], model: str, value: Any) -> None:
    schema = {"$ref": f"#/components/schemas/{model}", "components": openapi["components"]}
    jsonschema_rs.validator_for(schema).validate(value)


def test_every_api_route_is_described(api: Api, openapi: dict[str, Any]) -> None:
    routes = {
        (route.path, method.lower())
        for route in api.app.routes
        if isinstance(route, APIRoute)
        for method in route.methods
    }

    assert {(path, method) for path, method, _ in _operations(openapi)} == routes
    assert openapi["openapi"].startswith("3.1")


def test_every_reference_leads_somewhere(openapi: dict[str, Any]) -> None:
    names = set(re.findall(r"'#/components/schemas/([^']+)'", str(openapi)))

    assert names <= set(openapi["components"]["schemas"])
    assert (
        len(re.findall(r"'\$ref'", str(openapi)))
        == len(re.findall(r"#/components/schemas/", str(openapi)))
        - len(re.findall(r"'mapping'", str(openapi))) * 4
    )


def test_every_operation_that_needs_a_token_says_so_and_describes_its_refusals(
    openapi: dict[str, Any],
) -> None:
    for path, method, operation in _operations(openapi):
        closed = operation["security"] == [{"bearer": []}]
        assert ("401" in operation["responses"]) or not closed, (path, method)
        if path.startswith(("/v1/", "/notifications")):
            assert {"422", "503"} <= set(operation["responses"])


def test_a_replay_says_that_it_carries_no_rate_limit(openapi: dict[str, Any]) -> None:
    for path, status in (("/v1/notifications", "202"), ("/notifications", "201")):
        headers = openapi["paths"][path]["post"]["responses"][status]["headers"]
        assert "no RateLimit headers" in headers["Idempotency-Replayed"]["description"]


def test_every_channel_has_to_be_named(openapi: dict[str, Any]) -> None:
    """Our own classes know their type; a body without one could be any of them."""
    schemas = openapi["components"]["schemas"]
    for reference in schemas["RequestChannel"]["discriminator"]["mapping"].values():
        channel = schemas[reference.rpartition("/")[2]]
        assert "type" in channel["required"]
        assert "default" not in channel["properties"]["type"]


def test_every_error_is_a_problem(openapi: dict[str, Any]) -> None:
    for path, method, operation in _operations(openapi):
        for status, response in operation["responses"].items():
            if int(status) >= 400 and path != "/health/ready":
                assert list(response["content"]) == ["application/problem+json"], (path, method, status)


def test_every_body_has_an_example_that_it_accepts(openapi: dict[str, Any]) -> None:
    for _, _, operation in _operations(openapi):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            model = content["schema"]["$ref"].rpartition("/")[2]
            [example] = openapi["components"]["schemas"][model]["examples"]
            _conforms(openapi, model, example)


async def test_answers_are_as_described(
    caller: httpx.AsyncClient, admin: httpx.AsyncClient, user: str, openapi: dict[str, Any]
) -> None:
    flat = {"channel": "sms", "recipient": "+4915112345678", "body": "hello"}
    bulk = {"notifications": [email(user), {}]}
    sent = await caller.post("/v1/notifications", json=email(user))
    path = f"/v1/notifications/{sent.json()['id']}"
    found = {
        "NotificationAnswer": sent,
        "BulkAnswer": await caller.post("/v1/notifications/bulk", json=bulk),
        "NotificationPage": await caller.get("/v1/notifications"),
        "HistoryAnswer": await caller.get(f"{path}/attempts"),
        "FlatAnswer": await caller.post("/notifications", json=flat),
        "FlatPage": await caller.get("/notifications"),
        "DeadLetterPage": await admin.get("/v1/dead-letters"),
        "MailboxPage": await caller.get("/v1/mailbox"),
        "HealthAnswer": await caller.get("/health"),
        "ReadinessAnswer": await caller.get("/health/ready"),
        "Problem": await caller.post("/v1/notifications", json={}),
    }

    for model, response in found.items():
        _conforms(openapi, model, response.json())


async def test_a_described_answer_names_every_field_that_is_answered(
    caller: httpx.AsyncClient, user: str
) -> None:
    sent = (await caller.post("/v1/notifications", json=email(user))).json()

    assert list(sent) == list(answers.NotificationAnswer.model_fields)


def test_every_error_of_ours_has_a_status() -> None:
    assert all(400 <= status < 600 for status in problems.STATUS.values())
    assert problems.status_of(problems.UnexpectedError()) == 500


async def test_the_description_is_served(stranger: httpx.AsyncClient, openapi: dict[str, Any]) -> None:
    assert (await stranger.get("/openapi.json")).json() == openapi
