"""The reference as a page: no scripts, nothing from other sites, made from the OpenAPI document alone."""

import hashlib
import json
from base64 import b64encode
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse, Response

PACKAGE = __name__.rpartition(".")[0]
STYLE = files(PACKAGE).joinpath("templates", "reference.css").read_text()
STYLE_DIGEST = b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{STYLE_DIGEST}'; base-uri 'none'; frame-ancestors 'none'"

_templates = Environment(
    loader=PackageLoader(PACKAGE),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def _code(text: str) -> Markup:
    """Set what stands between backticks as code."""
    parts = str(escape(text)).split("`")
    marked = (f"<code>{part}</code>" if at % 2 else part for at, part in enumerate(parts))
    return Markup("".join(marked))  # noqa: S704 - escaped above


_templates.filters["code"] = _code


def reference_page(document: dict[str, Any]) -> Response:
    """Return the document as a page for people."""
    html = _templates.get_template("reference.html").render(
        document=document, style=STYLE, groups=_groups(document), models=_models(document)
    )
    return HTMLResponse(html, headers={"Content-Security-Policy": POLICY})


def _groups(document: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            shown = operation | {
                "path": path,
                "method": method.upper(),
                "example": _example(document, path, method, operation),
                "body": _body(operation),
                "parameters": [_parameter(each) for each in operation.get("parameters", ())],
                "responses": {code: _response(each) for code, each in operation["responses"].items()},
            }
            groups.setdefault(operation["tags"][0], []).append(shown)
    return groups


def _body(operation: dict[str, Any]) -> str | None:
    contents = operation.get("requestBody", {}).get("content", {}).values()
    return next((_name(content["schema"]) for content in contents), None)


def _parameter(parameter: dict[str, Any]) -> dict[str, Any]:
    schema = parameter["schema"]
    kinds = ", ".join(schema.get("enum", ())) or schema.get("format") or schema.get("type", "")
    return parameter | {"described": parameter.get("description") or kinds}


def _response(response: dict[str, Any]) -> dict[str, Any]:
    schemas = [content["schema"] for content in response.get("content", {}).values()]
    return response | {"models": [_name(schema) for schema in schemas if "$ref" in schema]}


def _example(document: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> str:
    """Return a curl line that works as it stands once TOKEN and ADDRESS are set."""
    parts = ["curl"]
    if method != "get":
        parts.append(f"-X {method.upper()}")
    parts.append(f'"$ADDRESS{path}"')
    if operation["security"]:
        parts.append('-H "Authorization: Bearer $TOKEN"')
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        [example] = document["components"]["schemas"][_name(content["schema"])]["examples"]
        data = json.dumps(example, indent=2) if kind == "application/json" else urlencode(example)
        parts += [f"-H 'Content-Type: {kind}'", f"-d '{data}'"]
    return " \\\n  ".join(parts)


def _models(document: dict[str, Any]) -> dict[str, str]:
    schemas = document["components"]["schemas"]
    return {
        name: json.dumps(schema, indent=2, ensure_ascii=False) for name, schema in sorted(schemas.items())
    }


def _name(schema: dict[str, Any]) -> str:
    return str(schema["$ref"]).rpartition("/")[2]
