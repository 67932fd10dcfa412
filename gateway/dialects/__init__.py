"""The list of provider wires, by the name the price book and routes.yaml give them."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.core.contracts import Dialect

from .deepseek import DeepSeek
from .google import Google
from .openai import OpenAI

DIALECTS: Mapping[str, Dialect] = {dialect.name: dialect for dialect in (OpenAI(), DeepSeek(), Google())}
