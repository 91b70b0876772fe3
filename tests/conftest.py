"""What all tests share: the services they may need, and the summary of what ran where."""

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests import services

FOLDER = Path(__file__).parent

pytest_plugins = services.modules()

hypothesis.settings.register_profile("default", max_examples=50, deadline=None)
hypothesis.settings.register_profile("ci", max_examples=100, deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")

WITH_PROCESSES = ("chaos", "cli", "crash", "e2e", "fuzz", "load", "outages")
"""Folders whose tests start the service as a user would; the rest runs inside pytest, in under a minute."""

_outcomes: dict[str, str] = {}
_with_processes: set[str] = set()


@pytest.fixture
def free_port() -> int:
    """Give a TCP port of the loopback address that nobody listens on."""
    return services.free_port()


def pytest_configure(config: pytest.Config) -> None:
    """Make a mark of each service and refuse a REQUIRE that names none."""
    config.addinivalue_line("markers", "processes: starts real processes of ours; set by its folder")
    for service in services.services():
        config.addinivalue_line(
            "markers", f"{service.name}: needs {service.name}; set by itself with {service.fixture}"
        )
    unknown = services.required() - {service.name for service in services.services()}
    if unknown:
        raise pytest.UsageError(f"REQUIRE names unknown services: {', '.join(sorted(unknown))}")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test that uses a service, and give the service to each test that has the mark."""
    for item in items:
        if item.path.relative_to(FOLDER).parts[0] in WITH_PROCESSES:
            item.add_marker("processes")
            _with_processes.add(item.nodeid)
        for service in services.services():
            fixtures: list[str] = getattr(item, "fixturenames", [])
            if service.fixture in fixtures:
                item.add_marker(service.name)
            elif item.get_closest_marker(service.name):
                item.fixturenames = [*fixtures, service.fixture]  # type: ignore[attr-defined]


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Iterator[None]:
    """Start the services that the selected tests need beforehand, outside any test's time limit."""
    for service in services.services():
        service.used_by.update(item.nodeid for item in session.items if item.get_closest_marker(service.name))
        if service.used_by and not session.config.option.collectonly:
            with contextlib.suppress(services.OutOfReachError):  # each test says so itself
                service.find()
    return (yield)


def pytest_unconfigure() -> None:
    """End every server, after an interrupt too."""
    services.stop_all()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note how each test ended."""
    if report.when == "call" or report.outcome != "passed":
        _outcomes.setdefault(report.nodeid, report.outcome)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what ran where, and what was out of reach."""
    ran = {node for node, outcome in _outcomes.items() if outcome != "skipped"}
    needy = {node for service in services.services() for node in service.used_by}
    inside = ran - needy - _with_processes
    parts = [f"embedded {len(inside)}", f"processes {len(ran - needy - inside)}"]
    out_of_reach = []
    for service in services.services():
        state = service.state
        if isinstance(state, services.OutOfReachError):
            skipped = Counter(_outcomes.get(node) for node in service.used_by)["skipped"]
            if skipped:
                out_of_reach.append(
                    f"skipped {skipped} that need {service.name}: {state}. {service.how_to_get}"
                )
        elif state:
            parts.append(f"{service.name} {len(ran & service.used_by)} ({state.where})")
    terminalreporter.section("what ran where")
    terminalreporter.line(", ".join(parts))
    for line in out_of_reach:
        terminalreporter.line(line, yellow=True)
