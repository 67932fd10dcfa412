"""A value that satisfies a JSON Schema, for structured answers and tool arguments.

Covers what such requests use: type, properties, required, enum, const, items, minItems, minimum, anyOf, allOf of one,
and references into the schema itself. Anything else is ignored, not refused: the schema's author is not under test.
"""

import random
from typing import Any

from gateway.simulator.tokens import make_text

# JSON schemas and the values made from them are any JSON, hence Any.
Json = Any

_DEEP = 12  # a recursive schema has to end somewhere
_MUCH = 1000  # and a long one too: no list or text is made longer than this


def example(schema: Json, dice: random.Random) -> Json:
    """Raises ValueError when this cannot be read as a schema."""
    try:
        return _value(schema, schema, dice, 0)
    except (TypeError, AttributeError, KeyError, IndexError, OverflowError, ValueError) as exc:
        raise ValueError(f"this is no JSON Schema: {exc}") from exc


def _value(schema: Json, root: Json, dice: random.Random, depth: int) -> Json:
    schema = _resolved(schema, root)
    if not isinstance(schema, dict) or depth > _DEEP:
        return None
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return dice.choice(schema["enum"])
    for several in ("anyOf", "oneOf", "allOf"):
        if schema.get(several):
            return _value(schema[several][0], root, dice, depth + 1)
    match _kind(schema):
        case "object":
            return _object(schema, root, dice, depth)
        case "array":
            length = min(max(int(schema.get("minItems", 0)), 2), _MUCH)
            length = min(length, int(schema.get("maxItems", length)))
            return [_value(schema.get("items", {"type": "string"}), root, dice, depth + 1) for _ in range(length)]
        case "integer":
            return _number(schema, dice)
        case "number":
            return _number(schema, dice) + (0.5 if "maximum" not in schema else 0)
        case "boolean":
            return dice.random() < 0.5
        case "null":
            return None
    return make_text(min(max(2, int(schema.get("minLength", 0))), _MUCH), dice)[: schema.get("maxLength")]


def _object(schema: Json, root: Json, dice: random.Random, depth: int) -> Json:
    wanted = schema.get("properties", {})
    # Deep in a recursive schema only what is required is given, so that it ends.
    names = [name for name in wanted if depth < 3 or name in schema.get("required", ())]
    return {name: _value(wanted[name], root, dice, depth + 1) for name in names}


def _number(schema: Json, dice: random.Random) -> int:
    low = int(schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1))
    high = int(schema.get("maximum", schema.get("exclusiveMaximum", low + 101) - 1))
    return dice.randint(low, max(low, high))


def _kind(schema: Json) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    return kind or ("object" if "properties" in schema else "string")


def _resolved(schema: Json, root: Json) -> Json:
    for _ in range(_DEEP):
        if not isinstance(schema, dict) or "$ref" not in schema:
            return schema
        target = root
        for step in str(schema["$ref"]).removeprefix("#/").split("/"):
            target = target.get(step, {}) if isinstance(target, dict) else {}
        schema = target
    return {}
