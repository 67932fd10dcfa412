"""Vectors of texts, as the providers' embedding models would make them: texts that share words lie close together.

Pure, and the same for the same text. Each word is hashed into a few places, short ones count little, and so do the
letters inside, so that `restart` and `restarting` are neighbours. It knows nothing of meaning.
"""

import json
import math
import re
from dataclasses import dataclass
from zlib import crc32

from gateway.simulator.bill import Tokens
from gateway.simulator.wires.base import indented

DIMENSIONS = 256

_WORD = re.compile(r"\w+")
_SHORT = 4
_SHORT_WEIGHT = 0.15
_PART_WEIGHT = 0.25


@dataclass(frozen=True, slots=True)
class TextAsk:
    model: str
    text: str


def read_text_ask(raw: bytes) -> TextAsk:
    """Raises ValueError, saying what is wrong, when this asks for no vector of one text."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as exc:
        raise ValueError("could not parse the JSON body of your request") from exc
    model, text = (body.get("model"), body.get("input")) if isinstance(body, dict) else (None, None)
    if not isinstance(model, str) or not model:
        raise ValueError("you must provide a model parameter")
    if not isinstance(text, str) or not text:
        raise ValueError("'input' must be a text that is not empty")
    return TextAsk(model.removeprefix("models/"), text)


def vector(text: str) -> list[float]:
    """Of length 1."""
    found = [0.0] * DIMENSIONS
    for word in _WORD.findall(text.lower()) or [text]:
        weight = 1.0 if len(word) >= _SHORT else _SHORT_WEIGHT
        _add(found, word, weight)
        padded = f"^{word}$"
        for place in range(len(padded) - 2):
            _add(found, padded[place : place + 3], weight * _PART_WEIGHT)
    length = math.sqrt(sum(value * value for value in found)) or 1.0
    return [round(value / length, 7) for value in found]


def embedded(ask: TextAsk, tokens: Tokens) -> bytes:
    """The whole reply, the same at every provider that has this wire."""
    data = [{"object": "embedding", "index": 0, "embedding": vector(ask.text)}]
    usage = {"prompt_tokens": tokens.prompt, "total_tokens": tokens.prompt}
    return indented({"object": "list", "data": data, "model": ask.model, "usage": usage}, 2)


def _add(found: list[float], part: str, weight: float) -> None:
    for salt in ("a", "b", "c"):
        code = crc32((salt + part).encode("utf-8", "replace"))
        found[code % DIMENSIONS] += weight if code & 0x10000 else -weight
