"""Makes several processes of one service share their metrics through files."""

import os
import sys
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def enable_multiprocess(folder: Path) -> None:
    """Let this process and those it starts add up their metrics in `folder`, which is emptied first.

    To be called by the parent, once, before anything imports `observability.metrics`: prometheus_client
    chooses between memory and files when it is imported. Raises RuntimeError when that has happened.
    """
    if "prometheus_client" in sys.modules:
        raise RuntimeError("enable_multiprocess() must be called before observability.metrics is imported")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left_over in folder.glob("*.db"):
        left_over.unlink()
    os.environ[VARIABLE] = str(folder)


def is_multiprocess() -> bool:
    """Whether metrics are added up over several processes."""
    return bool(os.environ.get(VARIABLE))
