"""One site and one browser for all tests here; each test has a person of its own."""

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.web.site import Site, Visitor, running_site, visiting


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Site]:
    async with running_site(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium_path: str, chromium_args: list[str]) -> AsyncGenerator[Browser]:
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=chromium_path, args=chromium_args)
        yield launched
        await launched.close()


@pytest_asyncio.fixture(loop_scope="session")
async def ann(site: Site, browser: Browser) -> AsyncGenerator[Visitor]:
    """Give somebody who is signed in and looks at an empty mailbox."""
    async with visiting(site, browser) as visitor:
        await visitor.sign_in()
        yield visitor
