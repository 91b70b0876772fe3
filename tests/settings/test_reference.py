"""The page that documents the settings."""

import subprocess
import sys
from pathlib import Path

from notification_service.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_page_is_what_the_code_says(folder: Path) -> None:
    """When this fails: make settings-docs."""
    command = [sys.executable, "-m", "notification_service.settings"]

    printed = subprocess.run(command, capture_output=True, check=True, encoding="utf-8", cwd=folder)

    assert printed.stdout == PAGE.read_text(encoding="utf-8")
    assert list(folder.iterdir()) == []


def test_the_page_names_every_variable() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert not [name for name in Settings.names if f"`{name}`" not in page]


def test_no_row_breaks_its_table() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]

    assert {row.count("|") for row in rows} == {4}
