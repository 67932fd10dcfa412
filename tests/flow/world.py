"""A whole gateway between clients and the simulator: three providers under test prices, written down twice.

The gateway reads its prices from ROUTES, the simulator from PRICES: two statements of the same tariff, so that the
ledger and the bill come from different arithmetic.
"""

from __future__ import annotations

from gateway.simulator import PriceData, Simulator

PRICES: PriceData = {
    ("openai", "gpt-6-test"): [
        (0, {"input": "1.1", "cached_input": "0.11", "cache_write": "1.375", "output": "5.3"}),
    ],
    ("deepseek", "chat-test"): [(0, {"input": "0.27", "cached_input": "0.007", "output": "1.1"})],
    ("google", "gemini-test"): [(0, {"input": "0.3", "cached_input": "0.03", "output": "2.5"})],
}

MODELS = ("openai/gpt-6-test", "deepseek/chat-test", "google/gemini-test")

_MODEL = "context_tokens: 200000, max_output_tokens: 8000, expected_output_tokens: 60"
_ROW = "effective_from: 2020-01-01T00:00:00Z, status: announced, source: the tests, read: 2026-11-23"
_ALL = "tools, json_object, json_schema, vision, logprobs, n, reasoning"

ROUTES = f"""
defaults:
  timeouts: {{connect_s: 2, first_token_s: 1, between_tokens_s: 1, total_s: 20}}
providers:
  openai: {{base_url_env: SIM_OPENAI}}
  deepseek: {{base_url_env: SIM_DEEPSEEK}}
  google: {{base_url_env: SIM_GOOGLE}}
models:
  openai/gpt-6-test: {{{_MODEL}, capabilities: [{_ALL}]}}
  deepseek/chat-test: {{{_MODEL}, capabilities: [tools, json_object, reasoning]}}
  google/gemini-test: {{{_MODEL}, capabilities: [{_ALL}]}}
prices:
  - {{id: a, model: openai/gpt-6-test, {_ROW},
     rates: {{input: "1.10", cached_input: "0.110", cache_write: "1.375", output: "5.30"}}}}
  - {{id: b, model: deepseek/chat-test, {_ROW}, rates: {{input: "0.270", cached_input: "0.0070", output: "1.10"}}}}
  - {{id: c, model: google/gemini-test, {_ROW}, rates: {{input: "0.30", cached_input: "0.030", output: "2.50"}}}}
routes:
  auto:
    policy: cheapest
    candidates: [{", ".join(MODELS)}]
    baseline: openai/gpt-6-test
  kept:
    policy: cheapest
    candidates: [{", ".join(MODELS)}]
    baseline: openai/gpt-6-test
    cache: {{ttl_s: 600, max_kib: 64}}
  best:
    policy: split
    candidates: [{", ".join(MODELS)}]
    weights: {{{", ".join(f"{model}: 1" for model in MODELS)}}}
    baseline: openai/gpt-6-test
"""


def env(sim: Simulator) -> dict[str, str]:
    """Provider keys and addresses that lead the gateway to this simulator, as if it were the real providers."""
    return {
        "OPENAI_API_KEY": "key-openai-canary",
        "DEEPSEEK_API_KEY": "key-deepseek-canary",
        "GEMINI_API_KEY": "key-google-canary",
        "SIM_OPENAI": sim.base_url("openai"),
        "SIM_DEEPSEEK": sim.base_url("deepseek"),
        "SIM_GOOGLE": sim.base_url("google"),
    }
