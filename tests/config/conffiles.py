"""A small price book and the loading of texts, for the tests of gateway/config."""

from datetime import UTC, datetime
from pathlib import Path

from gateway.config import ConfigError, Loaded, Mistake, load

BOOK = Path(__file__).parent / "book"
ROOT = Path(__file__).parent.parent.parent
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)

MINIMAL = """\
routes:
  auto:
    policy: cheapest
    candidates: [big, flash]
"""


FULL = """\
organisation: acme
server: {max_body_mib: 2, body_timeout_s: 5, drain_s: 6, abandoned_stream_s: 7.5, max_concurrency: 8}
defaults:
  jurisdictions: [US, CN]
  baseline: big
  max_attempts: 4
  expected_output_tokens: 700
  max_output_tokens: 2000
  timeouts: {connect_s: 1, first_token_s: 20, between_tokens_s: 3, total_s: 40}
routes:
  auto:
    policy: cheapest
    candidates: [openai/big, flash, mistral/tiny, openai/large@high]
    quality_floor: {overall: 60, code: 70}
    floor_means: average
    kind: code
    baseline: openai/small
    fallbacks: [small]
    jurisdictions: [US]
    max_cost_usd: "0.05"
    expected_output_tokens: 300
    cache:
      ttl_s: 60
      max_kib: 2
      scope: key
      jitter_percent: 0
      stale_while_revalidate_s: 30
      stale_if_error_s: 600
      sampled: true
      coalesce: false
      semantic: {model: openai/vectors, threshold: 0.9}
    timeouts: {total_s: 50}
    max_attempts: 2
    max_output_tokens: 500
    delivery: whole
    explore_percent: 5
    when:
      - {kind: code, needs: [tools, vision], use: home}
      - kind: [maths, chat]
        budget_used_percent: 80
        hours: "22:00-06:00"
        days: [mon, fri]
        zone: Europe/Paris
        tags: {tier: gold, "cost centre": "4711"}
        use: home
      - {days: [sun], use: home}
  home: {policy: value, candidates: [big@low], jurisdictions: [US]}
  each: {policy: fastest, kind: auto, candidates: [big], quality_floor: 60}
  shares:
    policy: split
    candidates: [large, small, large@high]
    weights: {big: 90, small: 10, big@high: 0}
    step_down: {from_percent: 80, to: plain}
  plain: {policy: best, candidates: [big], quality_floor: 65}
teams:
  research:
    keys:
      - {id: research-app, sha256: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef}
      - {id: research-batch, env: RESEARCH_BATCH_KEY}
    routes: [auto, direct]
    jurisdictions: [US]
    overrides: any
    cache_bypass: [research-batch, made-later]
  open: {keys: [{id: open-app, env: OPEN_KEY}], organisation: guests}
  later: {routes: [plain], cache_bypass: none}
budgets:
  research-month: {team: research, usd: "500", window: month}
  per-key-day: {each: key, usd: 20.5, window: day, mode: soft}
  deepseek-day: {provider: deepseek, usd: "0.000000001", window: day, rolling: true, offline: slice}
  all: {organisation: acme, usd: 9000000, window: month, zone: Europe/Paris}
  named: {route: direct, usd: "1", window: hour}
limits:
  app: {key: research-app, requests_per_minute: 600, tokens_per_minute: 200000}
  guests: {organisation: guests, concurrency: 4}
providers:
  openai: {base_url_env: OPENAI_BASE_URL, abort_stops_billing: true}
  local: {dialect: openai, base_url: "http://127.0.0.1:8000/v1/", key_env: null, jurisdiction: US}
  mistral: {via: litellm, key_env: MISTRAL_API_KEY, jurisdiction: FR}
models:
  local/meta/llama-3: {context_tokens: 8000, max_output_tokens: 1000, capabilities: []}
  mistral/tiny: {context_tokens: 32000, max_output_tokens: 4000, capabilities: [tools], tokens_per_byte: 0.3}
  openai/big:
    expected_output_tokens: 450
    quality:
      code: {score: 72.5, status: measured, source: ours, read: 2026-05-01, subject: effort low}
    capabilities: [tools, vision, reasoning]
    efforts:
      low: {}
      high:
        expected_output_tokens: 3000
        quality:
          legal: {score: 91, status: rumoured, source: somebody, read: 2026-05-02}
prices:
  - id: tiny@1
    model: mistral/tiny
    effective_from: 2026-01-01T00:00:00+01:00
    effective_until: 2027-01-01T00:00:00Z
    status: measured
    source: bills
    read: 2026-02-01
    rates: {input: 0.10, output: "0.3", reasoning: 0.35}
    context_tiers:
      - {above_input_tokens: 1000, rates: {input: 1, output: 2}}
      - {above_input_tokens: 2000, rates: {input: 3, output: 4}}
    service_tiers:
      flex: {input: "0.05", output: "0.15", audio_input: "0.5"}
      priority: {input: "0.2", output: "0.6", context_tiers: [{above_input_tokens: 1000, rates: {input: 2, output: 4}}]}
    windows:
      - name: night
        zone: Europe/Paris
        days: [sat, sun]
        hours: ["00:00-06:00", "22:00-24:00"]
        except_holidays: fr
        rates: {input: 0, output: 0}
holidays:
  fr: {zone: Europe/Paris, covers: {from: 2026-01-01, until: 2026-12-31}, source: a list, dates: [2026-07-14]}
"""

KEYS = {"RESEARCH_BATCH_KEY": "r" * 40, "OPEN_KEY": "o" * 40}


def shipped_with_examples() -> str:
    """The routes.yaml that ships, with the examples at its end switched on."""
    head, _, examples = (ROOT / "routes.yaml").read_text().partition("\n# teams:")
    lines = f"# teams:{examples}".splitlines()
    return "\n".join([head, *(line.removeprefix("# ").removeprefix("#") for line in lines), ""])


def loaded(tmp_path, text, env=(), now=NOW) -> Loaded:
    path = tmp_path / "routes.yaml"
    path.write_text(text)
    return load(path, dict(env), now=now, pricebook=BOOK)


def mistakes(tmp_path, text, env=(), now=NOW) -> tuple[Mistake, ...]:
    try:
        loaded(tmp_path, text, env, now)
    except ConfigError as error:
        return error.mistakes
    return ()


def marked_lines(text) -> list[int]:
    """The lines that end in "# <-": where a test expects a mistake."""
    return [number for number, line in enumerate(text.splitlines(), start=1) if line.endswith("# <-")]
