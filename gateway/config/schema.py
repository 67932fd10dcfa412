"""`routes.schema.json`: the shape of routes.yaml for editors, made from the models that check it.

Draft 07 without anything that later drafts changed the meaning of, since editors differ in what they read.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from .leaves import MAY_BE_NULL
from .shape import RoutesFile

# Any: a JSON Schema is open-ended JSON.
Json: TypeAlias = dict[str, Any]


def json_schema() -> Json:
    schema = RoutesFile.model_json_schema(ref_template="#/definitions/{model}")
    definitions = schema.pop("$defs")
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "routes.yaml of the LLM routing gateway",
        **_plain(schema, ""),
        "definitions": {name: _plain(definition, "") for name, definition in sorted(definitions.items())},
    }


def _plain(schema: Json, key: str) -> Json:
    """A schema of pydantic's without its titles, its empty defaults, and the null that only Python needs."""
    plain = {name: value for name, value in schema.items() if name != "title" and not _empty(name, value)}
    if "oneOf" in plain:
        plain["anyOf"] = plain.pop("oneOf")
    if "anyOf" in plain:
        choices = [_plain(one, "") for one in plain.pop("anyOf") if key in MAY_BE_NULL or one != {"type": "null"}]
        plain = {**choices[0], **plain} if len(choices) == 1 else {"anyOf": choices, **plain}
    if "$ref" in plain and len(plain) > 1:
        # Draft 07 ignores whatever stands beside a $ref, the description too.
        plain = {"allOf": [{"$ref": plain.pop("$ref")}], **plain}
    if "properties" in plain:
        plain["properties"] = {name: _plain(value, name) for name, value in plain["properties"].items()}
    if "patternProperties" in plain:
        plain["patternProperties"] = {name: _plain(value, "") for name, value in plain["patternProperties"].items()}
        plain["additionalProperties"] = False
    for part in ("items", "additionalProperties"):
        if isinstance(plain.get(part), dict):
            plain[part] = _plain(plain[part], "")
    return plain


def _empty(name: str, value: object) -> bool:
    return name == "default" and (value is None or isinstance(value, (dict, list)))
