"""Where the service answers: with and without a slash, to which methods, and what is not there."""

from typing import Any

import httpx
import pytest

from tests.api.rig import Api, email

PROBLEM = "application/problem+json"
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
GETS = [
    "/health",
    "/health/ready",
    "/metrics",
    "/docs",
    "/openapi.json",
    "/v1/notifications",
    "/notifications",
]


@pytest.mark.parametrize("path", [*GETS, "/v1/mailbox"])
async def test_a_trailing_slash_changes_nothing(caller: httpx.AsyncClient, path: str) -> None:
    plain = await caller.get(path)
    slashed = await caller.get(path + "/")

    assert plain.status_code == slashed.status_code == 200
    assert plain.headers["content-type"] == slashed.headers["content-type"]


async def test_a_post_keeps_its_body_with_a_trailing_slash(caller: httpx.AsyncClient, user: str) -> None:
    assert (await caller.post("/v1/notifications/", json=email(user))).status_code == 202
    assert (await caller.post("/v1/notifications/bulk/", json={"notifications": [{}]})).status_code == 202


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/v1", "/v1/nothing", "/v1//notifications", "/v1/notifications//", "/V1/notifications"],
)
async def test_an_unknown_path_is_a_problem(caller: httpx.AsyncClient, path: str) -> None:
    response = await caller.get(path)

    assert (response.status_code, response.headers["content-type"]) == (404, PROBLEM)
    assert (response.json()["code"], response.json()["detail"]) == ("not_found", "not found")
    assert path not in response.text


async def test_a_browser_gets_a_page_instead(stranger: httpx.AsyncClient) -> None:
    response = await stranger.get("/nothing", headers=BROWSER)

    assert response.status_code == 404
    assert response.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in response.headers["content-security-policy"]


async def test_a_browser_gets_problems_from_the_api_all_the_same(stranger: httpx.AsyncClient) -> None:
    response = await stranger.get("/v1/notifications", headers=BROWSER)

    assert (response.status_code, response.headers["content-type"]) == (401, PROBLEM)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/notifications", "GET, HEAD, OPTIONS, POST"),
        ("GET", "/v1/notifications/bulk", "OPTIONS, POST"),
        ("DELETE", "/v1/notifications/01890000-0000-7000-8000-000000000000", "GET, HEAD, OPTIONS"),
        ("POST", "/health", "GET, HEAD, OPTIONS"),
        ("PATCH", "/v1/mailbox", "DELETE, GET, HEAD, OPTIONS"),
        ("GET", "/v1/auth/token", "OPTIONS, POST"),
    ],
)
async def test_another_method_is_405_and_told_which_there_are(
    caller: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    response = await caller.request(method, path)
    options = await caller.options(path)

    assert (response.status_code, response.headers["content-type"]) == (405, PROBLEM)
    assert response.headers["allow"] == allowed
    assert (options.status_code, options.headers["allow"]) == (204, allowed)


async def test_other_sites_are_not_invited(caller: httpx.AsyncClient) -> None:
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}

    response = await caller.options("/v1/notifications", headers=asked)

    assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", GETS)
async def test_head_is_answered_like_get(caller: httpx.AsyncClient, path: str) -> None:
    assert (await caller.head(path)).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/v1/notifications", "/nothing", "/v1/notifications/x"])
async def test_every_answer_is_hardened(caller: httpx.AsyncClient, path: str) -> None:
    headers = (await caller.get(path)).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert len(headers.get_list("cache-control")) == 1


async def test_the_reference_needs_no_other_site_and_no_script(stranger: httpx.AsyncClient) -> None:
    response = await stranger.get("/docs")

    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "<script" not in response.text
    assert "https://" not in response.text.replace("https://example.com", "")
    assert "/v1/notifications/bulk" in response.text


async def test_metrics_count_templates_and_never_paths(
    api: Api, caller: httpx.AsyncClient, user: str
) -> None:
    sent: dict[str, Any] = (await caller.post("/v1/notifications", json=email(user))).json()
    await caller.get(f"/v1/notifications/{sent['id']}")
    await caller.get("/secretpath")
    await caller.request("BREW", "/health")

    text = (await caller.get("/metrics")).text

    assert sent["id"] not in text
    assert "secretpath" not in text
    assert "BREW" not in text
    assert 'route="/v1/notifications/{id}"' in text
    assert 'http_requests_total{method="POST",route="/v1/notifications",status="202"}' in text
    assert 'http_requests_total{method="GET",route="unknown",status="404"}' in text
    assert "notification_accept_seconds_count" in text
    assert 'notifications_created_total{channel="email"}' in text
