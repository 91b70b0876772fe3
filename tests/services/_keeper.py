"""Runs one server for as long as standard input stays open, then ends it and removes its folder.

The test session holds the other end of that pipe, so the server goes even when the session is killed.
Arguments: the signal that ends the server, the user it runs as (may be empty), its folder, the command.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any


def main() -> None:
    """Run the server until standard input closes or the server ends by itself."""
    stop_with, user, folder, *command = sys.argv[1:]
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, lambda *_: None)
    identity: dict[str, Any] = {}
    if user:
        entry = pwd.getpwnam(user)
        identity = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    with (Path(folder) / "output").open("wb") as output:
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=folder, **identity
        )

    stopping = threading.Event()

    def follow() -> None:
        server.wait()
        if not stopping.is_set():
            os._exit(1)  # it ended by itself: its folder stays, for its output

    threading.Thread(target=follow, daemon=True).start()
    sys.stdin.buffer.read()
    stopping.set()
    server.send_signal(int(stop_with))
    try:
        server.wait(10)
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


main()
