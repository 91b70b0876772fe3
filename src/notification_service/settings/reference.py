"""The settings as a page of documentation."""

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from notification_service.settings.fields import shown_default, variables_of
from notification_service.settings.report import shown
from notification_service.settings.sections import SECTIONS

PREFACE = """\
# Settings

Every setting is an environment variable; the same names may stand in a file `.env` in the working directory.
The environment wins over `.env`, a name with the prefix over one without it, and empty means unset.
Lists are comma separated. `notify doctor` shows what is in force and where it comes from.

Outside development the service refuses to start while a secret is missing, short (under 32 bytes) or well
known. In development it makes its secrets once and keeps them in `NS_DATA_DIR`.

Made by `make settings-docs`; don't edit it by hand.
"""


def reference() -> str:
    """Return docs/settings.md."""
    return PREFACE + "".join(_section(title, model) for title, model in SECTIONS.items())


def _section(title: str, model: type[BaseModel]) -> str:
    rows = "\n".join(_row(name, field) for name, field in model.model_fields.items())
    heading = f"\n## {title}\n\n{model.__doc__}\n\n| name | default | meaning |\n|---|---|---|\n"
    return f"{heading}{rows}\n"


def _row(name: str, field: FieldInfo) -> str:
    first, *others = variables_of(name, field)
    also = f" (also `{'`, `'.join(others)}`)" if others else ""
    return f"| `{first}`{also} | {_default(field)} | {field.description} |"


def _default(field: FieldInfo) -> str:
    if (told := shown_default(field)) is not None:
        return told
    value = shown(field.default)
    return f"`{value}`" if value else "unset"
