"""Scripts, styles and icons, served from memory under an address that changes when any of them does."""

import hashlib
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from notification_service.domain.errors import NotFoundError

FOREVER = "public, max-age=31536000, immutable"

# The types by name, because the machine's own table may lack them or map .js to something older.
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

_ASSETS: Final = {
    file.name: file.read_bytes()
    for file in sorted((files(__package__) / "static").iterdir(), key=lambda file: file.name)
    if file.name.endswith(tuple(TYPES))
}


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for name, content in _ASSETS.items():
        digest.update(f"{name} {len(content)} ".encode() + content)
    return digest.hexdigest()[:16]


VERSION: Final = _fingerprint()
"""One for all: modules import one another by relative names, so they have to change address together."""


def asset_path(name: str) -> str:
    """Return the address of one asset; raises `KeyError` for a name that doesn't exist."""
    _ASSETS[name]
    return f"/static/{VERSION}/{name}"


async def asset(request: Request) -> Response:
    """Serve one asset. Under another version's address it is served too, but not for keeping.

    While a new release rolls out, a page may come from one process and its scripts be asked of another.
    """
    name = request.path_params["name"]
    if name not in _ASSETS:
        raise NotFoundError
    current = request.path_params["version"] == VERSION
    headers = {"cache-control": FOREVER if current else "no-cache", "x-content-type-options": "nosniff"}
    return Response(_ASSETS[name], media_type=TYPES[PurePosixPath(name).suffix], headers=headers)
