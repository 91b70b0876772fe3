"""The served API against its own OpenAPI document, by Schemathesis."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.e2e.caller import bearer
from tests.e2e.processes import PROGRAMS, ServiceProcess, ordinary_settings
from tests.services import free_port

EXAMPLES = 15
"""For each operation."""
SENSELESS = [positive_data_acceptance]
"""Addresses, times, cursors and ids have rules that no schema can express."""


@dataclass(frozen=True)
class Served:
    """An API that answers, what it says about itself, and an administrator's headers."""

    schema: BaseSchema
    admin: dict[str, str]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve the API and read its document."""
    folder: Path = tmp_path_factory.mktemp("schemathesis")
    port, chosen = free_port(), ordinary_settings(folder)
    command: list[str | Path] = [PROGRAMS / "app", "--port", str(port)]
    service = ServiceProcess.start(command, settings=chosen, folder=folder, log="app.log", port=port)
    try:
        asyncio.run(service.serves())
        admin = bearer(chosen["NS_JWT_SECRET"], "schemathesis", role="admin")
        yield Served(schemathesis.openapi.from_url(f"{service.url}/openapi.json"), admin)
    finally:
        service.end()


@pytest.mark.timeout(240)
def test_the_api_keeps_to_its_document(served: Served) -> None:
    """Statuses, types, headers and bodies are as described, and what the document forbids is refused."""
    operations = [result.ok() for result in served.schema.get_all_operations() if isinstance(result, Ok)]

    complaints = [_complaint(operation, served.admin) for operation in operations]

    assert len(operations) > 15
    assert not any(complaints), "\n\n".join(filter(None, complaints))


def _complaint(operation: APIOperation[Any, Any, Any, Any], admin: dict[str, str]) -> str | None:
    """Try an operation with all of Schemathesis' checks; None when it keeps to its description."""

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy())
    def keeps(case: Any) -> None:
        case.call_and_validate(headers=admin, timeout=5, excluded_checks=SENSELESS)

    try:
        keeps()
    except BaseExceptionGroup as group:
        return f"{operation.label}: " + "\n".join(str(each) for each in group.exceptions)
    except AssertionError as failure:
        return f"{operation.label}: {failure}"
    return None
