"""A Chromium browser for tests."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.services import OutOfReachError, Service, program

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
MAC = ("Chromium", "Google Chrome", "Microsoft Edge")
DOWNLOADS = (Path.home() / ".cache/ms-playwright", Path.home() / "Library/Caches/ms-playwright")


@dataclass(frozen=True)
class Chromium:
    """A browser of the Chromium family."""

    path: str
    where: str


def _browser(path: Path | str) -> Chromium:
    asked = subprocess.run([path, "--version"], check=True, capture_output=True, text=True, timeout=30)
    return Chromium(str(path), next((word for word in asked.stdout.split() if word[0].isdigit()), "?"))


def from_environment() -> Chromium:
    """Use the browser that NS_TEST_CHROMIUM_PATH names; it is an error when that one does not run."""
    path = os.environ.get("NS_TEST_CHROMIUM_PATH")
    if not path:
        raise OutOfReachError
    return _browser(path)


def installed() -> Chromium:
    """Use the browser of this machine, or one that Playwright downloaded earlier."""
    apps = tuple(Path(f"/Applications/{name}.app/Contents/MacOS") for name in MAC)
    downloaded = tuple(
        folder for root in DOWNLOADS for folder in sorted(root.glob("chromium-*/chrome-*"), reverse=True)
    )
    try:
        return _browser(program(*NAMES, *MAC, "chrome", folders=apps + downloaded))
    except (OSError, subprocess.SubprocessError) as error:
        raise OutOfReachError("the browser of this machine does not run") from error


SERVICE = Service(
    name="chromium",
    fixture="chromium_path",
    how_to_get="Install Chromium (Debian: apt install chromium) or set NS_TEST_CHROMIUM_PATH.",
    ways=(from_environment, installed),
)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Give the path of a Chromium browser, for Playwright's `executable_path`."""
    return SERVICE.need().path


@pytest.fixture(scope="session")
def chromium_args() -> list[str]:
    """Give the arguments with which the browser keeps to the test and runs in a container too."""
    quiet = [
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    return [*quiet, "--no-first-run", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
