"""The wires: one file for each provider, named as the provider is; this is the list."""

from gateway.simulator.wires.base import Event, Refusal, Wire
from gateway.simulator.wires.deepseek import DeepSeek
from gateway.simulator.wires.google import Google
from gateway.simulator.wires.openai import OpenAI

WIRES: dict[str, Wire] = {wire.name: wire for wire in (OpenAI(), DeepSeek(), Google())}

__all__ = ["WIRES", "Event", "Refusal", "Wire"]
