"""Every mistake that a routes.yaml can hold: at which line it is reported, and in which words."""

import pytest
from conffiles import MINIMAL, marked_lines, mistakes

KINDS = (
    "'chat', 'code', 'extraction', 'knowledge', 'maths', 'overall', 'reasoning', 'summarisation', 'translation' "
    "and 'writing'"
)

ROUTES = {
    "an unknown key": (
        "polcy: cheapest  # <-\n    policy: best\n    candidates: [big]",
        "unknown key 'polcy' in route 'auto'",
    ),
    "a misspelt key": (
        "polcy: cheapest  # <-\n    candidates: [big]",
        "unknown key 'polcy' in route 'auto'; did you mean 'policy'?",
    ),
    "an unknown policy": (
        "policy: cheepest  # <-\n    candidates: [big]",
        "unknown policy 'cheepest'; there are 'cheapest', 'best', 'value', 'fastest', 'split' and 'ordered'; "
        "did you mean 'cheapest'?",
    ),
    "an unknown model": (
        "policy: best\n    candidates: [openai/bgi, flash]  # <-",
        "unknown model 'openai/bgi'; did you mean 'openai/big'?",
    ),
    "a model twice, by two names": (
        "policy: best\n    candidates:\n    - big\n    - openai/large  # <-",
        "'openai/large' stands twice: openai/big is in the list already",
    ),
    "no candidates": (
        "policy: best\n    candidates: []  # <-",
        "route 'auto' has no candidates; name at least one model",
    ),
    "an unknown fallback": (
        "policy: best\n    candidates: [big]\n    fallbacks: [flush]  # <-",
        "unknown model 'flush'; did you mean 'flash'?",
    ),
    "a fallback that is a candidate": (
        "policy: best\n    candidates: [big]\n    fallbacks: [large]  # <-",
        "'large' is a candidate of the route already, so it cannot be its fallback",
    ),
    "an unknown baseline": (
        "policy: best\n    candidates: [big]\n    baseline: bigger  # <-",
        "unknown model 'bigger'; did you mean 'big'?",
    ),
    "a floor above 100": (
        "policy: best\n    candidates: [big]\n    quality_floor: 101  # <-",
        "'quality_floor' in route 'auto' is 101; it must be 100 or less",
    ),
    "a floor below 0, of one kind": (
        "policy: best\n    candidates: [big]\n    quality_floor:\n      code: -1  # <-",
        "'code' in 'quality_floor' of route 'auto' is -1; it must be 0 or more",
    ),
    "a floor of an unknown kind": (
        "policy: best\n    candidates: [big]\n    quality_floor: {coed: 50}  # <-",
        f"unknown task kind 'coed'; there are {KINDS}; did you mean 'code'?",
    ),
    "an unknown kind": (
        "policy: best\n    candidates: [big]\n    kind: Code  # <-",
        f"unknown task kind 'Code'; there are 'auto', {KINDS}; did you mean 'code'?",
    ),
    "a floor for whatever a request is": (
        "policy: best\n    candidates: [big]\n    kind: auto\n    quality_floor: {auto: 50}  # <-",
        f"unknown task kind 'auto'; there are {KINDS}",
    ),
    "an unknown meaning of a floor": (
        "policy: best\n    candidates: [big]\n    quality_floor: 50\n    floor_means: avrage  # <-",
        "'floor_means' in route 'auto' is 'avrage'; it is one of request, average; did you mean 'average'?",
    ),
    "exploring where cost does not decide": (
        "policy: best\n    candidates: [big]\n    explore_percent: 5  # <-",
        "'explore_percent' is for the policy 'cheapest'; this route's policy is 'best'",
    ),
    "exploring with more than all requests": (
        "policy: cheapest\n    candidates: [big]\n    explore_percent: 101  # <-",
        "'explore_percent' in route 'auto' is 101; it must be 100 or less",
    ),
    "an unknown delivery": (
        "policy: best\n    candidates: [big]\n    delivery: hole  # <-",
        "'delivery' in route 'auto' is 'hole'; it is one of stream, whole; did you mean 'whole'?",
    ),
    "an unknown jurisdiction": (
        "policy: best\n    candidates: [big]\n    jurisdictions: [US, USA]  # <-",
        "no provider is in 'USA'; providers are in 'CN' and 'US'; did you mean 'US'?",
    ),
    "a jurisdiction that is no code": (
        "policy: best\n    candidates: [big]\n    jurisdictions: [us]  # <-",
        "entry 1 of 'jurisdictions' in route 'auto' is 'us', not a country code such as US",
    ),
    "an empty list of jurisdictions": (
        "policy: best\n    candidates: [big]\n    jurisdictions: []  # <-",
        "'jurisdictions' in route 'auto' is empty; write at least one entry",
    ),
    "a key with nothing after it": (
        "policy: best\n    candidates: [big]\n    jurisdictions:  # <-",
        "'jurisdictions' in route 'auto' is empty; write a value, or delete it",
    ),
    "split without weights": (
        "policy: split\n    candidates: [big]",
        "the policy 'split' needs 'weights': a share for each candidate",
    ),
    "weights without split": (
        "policy: best\n    candidates: [big]\n    weights: {big: 1}  # <-",
        "'weights' are for the policy 'split'; this route's policy is 'best'",
    ),
    "weights that are all 0": (
        "policy: split\n    candidates: [big, flash]\n    weights: {big: 0, flash: 0}  # <-",
        "all weights are 0, so no candidate would ever be drawn",
    ),
    "a negative weight": (
        "policy: split\n    candidates: [big, flash]\n    weights:\n      big: -1  # <-\n      flash: 2",
        "'big' in 'weights' of route 'auto' is -1; it must be 0 or more",
    ),
    "a weight for another model": (
        "policy: split\n    candidates: [big]\n    weights:\n      big: 1\n      flash: 1  # <-",
        "'flash' has a weight and is no candidate of this route",
    ),
    "a weight for an unknown model": (
        "policy: split\n    candidates: [big]\n    weights:\n      big: 1\n      flahs: 1  # <-",
        "unknown model 'flahs'; did you mean 'flash'?",
    ),
    "two weights for one model": (
        "policy: split\n    candidates: [big]\n    weights:\n      big: 1\n      large: 1  # <-",
        "'large' stands twice: openai/big has a weight already",
    ),
    "a candidate without a weight": (
        "policy: split\n    candidates: [big, flash]\n    weights: {big: 1}  # <-",
        "candidate 'deepseek/flash' has no weight; write 0 to send it nothing",
    ),
    "a cost cap that is no amount": (
        "policy: best\n    candidates: [big]\n    max_cost_usd: five cents  # <-",
        "'max_cost_usd' in route 'auto' is no price: 'five cents' is not a decimal number of dollars",
    ),
    "a timeout of 0": (
        "policy: best\n    candidates: [big]\n    timeouts: {connect_s: 0}  # <-",
        "'connect_s' in 'timeouts' of route 'auto' is 0; it must be more than 0",
    ),
    "a total shorter than the first token": (
        "policy: best\n    candidates: [big]\n    timeouts: {total_s: 30.5}  # <-",
        "total_s (30.5) is shorter than first_token_s (60), which could then never be reached",
    ),
    "text for a number": (
        "policy: best\n    candidates: [big]\n    max_attempts: three  # <-",
        "'max_attempts' in route 'auto' is 'three', not a whole number",
    ),
    "a fraction for a whole number": (
        "policy: best\n    candidates: [big]\n    max_attempts: 2.5  # <-",
        "'max_attempts' in route 'auto' is 2.5, not a whole number",
    ),
    "text for a list": (
        "policy: best\n    candidates: big  # <-",
        "'candidates' in route 'auto' is text, not a list",
    ),
    "a number for a name": (
        "policy: best\n    candidates: [big, 4.1]  # <-",
        "entry 2 of 'candidates' in route 'auto' is 4.1, not text; write it in quotes",
    ),
    "an unknown key of the cache": (
        "policy: best\n    candidates: [big]\n    cache: {ttl_s: 60, max_kb: 1}  # <-",
        "unknown key 'max_kb' in 'cache' of route 'auto'; did you mean 'max_kib'?",
    ),
    "a cache without an age": (
        "policy: best\n    candidates: [big]\n    cache: {max_kib: 1}  # <-",
        "'cache' of route 'auto' has no 'ttl_s'",
    ),
    "an unknown scope of the cache": (
        "policy: best\n    candidates: [big]\n    cache: {ttl_s: 60, scope: teams}  # <-",
        "'scope' in 'cache' of route 'auto' is 'teams'; it is one of key, team, organisation, global; "
        "did you mean 'team'?",
    ),
    "more jitter than half": (
        "policy: best\n    candidates: [big]\n    cache: {ttl_s: 60, jitter_percent: 51}  # <-",
        "'jitter_percent' in 'cache' of route 'auto' is 51; it must be 50 or less",
    ),
    "an age of half a second": (
        "policy: best\n    candidates: [big]\n    cache: {ttl_s: 0.5}  # <-",
        "'ttl_s' in 'cache' of route 'auto' is 0.5, not a whole number",
    ),
    "a stale time below 0": (
        "policy: best\n    candidates: [big]\n    cache: {ttl_s: 60, stale_if_error_s: -1}  # <-",
        "'stale_if_error_s' in 'cache' of route 'auto' is -1; it must be 0 or more",
    ),
    "an answer that lives for more than a year, stale": (
        "policy: best\n    candidates: [big]\n    cache:\n      ttl_s: 31536000\n"
        "      stale_while_revalidate_s: 1  # <-",
        "ttl_s (31536000) and stale_while_revalidate_s (1) are more than a year (31536000) together",
    ),
    "a number for a switch": (
        "policy: best\n    candidates: [big]\n    cache: {ttl_s: 60, coalesce: 0}  # <-",
        "'coalesce' in 'cache' of route 'auto' is 0, not true or false",
    ),
    "similar questions of several teams": (
        "policy: best\n    candidates: [big]\n    cache:\n      ttl_s: 60\n      scope: organisation\n"
        "      semantic: {model: vectors}  # <-",
        "similar questions are answered inside one team only; 'scope' is 'organisation' here: write team or key, or "
        "delete 'semantic'",
    ),
    "similar questions without a model": (
        "policy: best\n    candidates: [big]\n    cache: {ttl_s: 60, semantic: {threshold: 0.9}}  # <-",
        "'semantic' of route 'auto' has no 'model'",
    ),
    "an unknown embedding model": (
        "policy: best\n    candidates: [big]\n    cache: {ttl_s: 60, semantic: {model: openai/smal}}  # <-",
        "unknown model 'openai/smal'; did you mean 'openai/small'?",
    ),
    "an embedding model where prompts may not go": (
        "policy: best\n    candidates: [flash]\n    jurisdictions: [CN]\n"
        "    cache: {ttl_s: 60, semantic: {model: vectors}}  # <-",
        "openai/vectors is in 'US', and route 'auto' allows 'CN' only",
    ),
    "similar questions by a model that answers": (
        "policy: best\n    candidates: [big]\n    cache: {ttl_s: 60, semantic: {model: small}}  # <-",
        "'small' is no embedding model; there are 'deepseek/far' and 'openai/vectors'",
    ),
    "an embedding model behind a wire without vectors": (
        "policy: best\n    candidates: [big]\n    cache: {ttl_s: 60, semantic: {model: far}}  # <-",
        "'far' cannot be asked for vectors: the wire 'deepseek' has no embeddings here",
    ),
    "an embedding model as a candidate": (
        "policy: best\n    candidates: [big, vectors]  # <-",
        "'vectors' is an embedding model: it makes vectors of texts for a 'semantic' cache, no answers",
    ),
    "an embedding model as the baseline": (
        "policy: best\n    candidates: [big]\n    baseline: openai/vectors  # <-",
        "'openai/vectors' is an embedding model: it makes vectors of texts for a 'semantic' cache, no answers",
    ),
    "questions that are hardly similar": (
        "policy: best\n    candidates: [big]\n    "
        "cache: {ttl_s: 60, semantic: {model: vectors, threshold: 0.79}}  # <-",
        "'threshold' in 'semantic' of route 'auto' is 0.79; it must be 0.8 or more",
    ),
    "questions that are more than the same": (
        "policy: best\n    candidates: [big]\n    cache: {ttl_s: 60, semantic: {model: vectors, threshold: 95}}  # <-",
        "'threshold' in 'semantic' of route 'auto' is 95; it must be 1 or less",
    ),
}


@pytest.mark.parametrize(("route", "message"), ROUTES.values(), ids=ROUTES)
def test_a_mistake_in_a_route(tmp_path, route, message):
    text = f"routes:\n  auto:\n    {route}\n"

    found = mistakes(tmp_path, text)

    assert [(one.line, one.message) for one in found] == [((marked_lines(text) or [2])[0], message)]


FILES = {
    "an unknown section": (
        MINIMAL + "team: {}  # <-",
        "unknown key 'team' in the file; did you mean 'teams'?",
    ),
    "no routes": (
        "routes: {}  # <-",
        "there is no route; write at least one under 'routes'",
    ),
    "a route named like a model": (
        "routes:\n  large: {policy: best, candidates: [big]}  # <-",
        "route 'large' is named like a model (openai/big); choose another name",
    ),
    "a route with the reserved name": (
        "routes:\n  direct: {policy: best, candidates: [big]}  # <-",
        "'direct' is kept for models that callers name themselves; choose another name",
    ),
    "a route name that is none": (
        MINIMAL + "  a b: {policy: best, candidates: [big]}  # <-",
        "a key of 'routes' is 'a b', not a name (letters, digits, . _ -)",
    ),
    "a route name that pydantic has a use for": (
        MINIMAL + "  '[key]': {policy: best, candidates: [big]}  # <-",
        "a key of 'routes' is '[key]', not a name (letters, digits, . _ -)",
    ),
    "a route that is no mapping": (
        MINIMAL + "  cheap: big  # <-",
        "route 'cheap' is text, not a mapping of keys to values",
    ),
    "a key twice": (
        MINIMAL + "    policy: best  # <-",
        "the key 'policy' stands twice; the first is on line 3",
    ),
    "an unknown default jurisdiction": (
        MINIMAL + "defaults: {jurisdictions: [DE]}  # <-",
        "no provider is in 'DE'; providers are in 'CN' and 'US'",
    ),
    "an unknown default baseline": (
        MINIMAL + "defaults: {baseline: gpt}  # <-",
        "unknown model 'gpt'",
    ),
    "default timeouts that contradict": (
        MINIMAL + "defaults: {timeouts: {connect_s: 10, first_token_s: 5, total_s: 7}}  # <-",
        "total_s (7) is shorter than connect_s (10), which could then never be reached",
    ),
    "a server limit of 0": (
        MINIMAL + "server: {max_body_mib: 0}  # <-",
        "'max_body_mib' in 'server' is 0; it must be more than 0",
    ),
    "true for a number": (
        MINIMAL + "server: {max_concurrency: true}  # <-",
        "'max_concurrency' in 'server' is true, not a whole number",
    ),
    "an ambiguous model": (
        "routes:\n  auto: {policy: best, candidates: [twin]}  # <-\nmodels:\n"
        "  openai/twin: {context_tokens: 1, max_output_tokens: 1, capabilities: []}\n"
        "  deepseek/twin: {context_tokens: 1, max_output_tokens: 1, capabilities: []}",
        "'twin' is the name of several models; write one of 'deepseek/twin' and 'openai/twin'",
    ),
}

TEAMS = {
    "unknown overrides": (
        "t: {overrides: strictr}  # <-",
        "'overrides' in team 't' is 'strictr'; it is one of stricter, any; did you mean 'stricter'?",
    ),
    "a word that is not whose": (
        "t: {cache_bypass: non}  # <-",
        "'cache_bypass' in team 't' is 'non'; it is all, none, or a list of key ids; did you mean 'none'?",
    ),
    "true for whose": (
        "t: {cache_bypass: true}  # <-",
        "'cache_bypass' in team 't' is true; it is all, none, or a list of key ids",
    ),
    "an empty list of keys": (
        "t: {cache_bypass: []}  # <-",
        "'cache_bypass' in team 't' is empty; it is all, none, or a list of key ids",
    ),
    "a key id that is no name": (
        "t: {cache_bypass: [a, the other]}  # <-",
        "entry 2 of 'cache_bypass' in team 't' is 'the other', not a name (letters, digits, . _ -)",
    ),
    "a key that may go past the cache twice": (
        "t:\n    cache_bypass:\n    - a\n    - b\n    - a  # <-",
        "key id 'a' stands twice in the list",
    ),
    "an unknown route": (
        "t: {keys: [{id: a, env: KEY_A}], routes: [atuo]}  # <-",
        "unknown route 'atuo'; did you mean 'auto'?",
    ),
    "an unknown jurisdiction": (
        "t: {keys: [{id: a, env: KEY_A}], jurisdictions: [EU]}  # <-",
        "no provider is in 'EU'; providers are in 'CN' and 'US'",
    ),
    "an organisation that is no name": (
        "t: {organisation: the others}  # <-",
        "'organisation' in team 't' is 'the others', not a name (letters, digits, . _ -)",
    ),
    "a digest that is none": (
        "t: {keys: [{id: a, sha256: sk-secret}]}  # <-",
        "'sha256' in 'keys' of team 't' is not a SHA-256: 64 hex digits, lower case",
    ),
    "a key in place of its entry": (
        "t: {keys: [sk-secret]}  # <-",
        "entry 1 of 'keys' in team 't' is text, not a mapping of keys to values",
    ),
    "a variable that is not set": (
        "t: {keys: [{id: a, env: NOT_SET}]}  # <-",
        "the environment variable NOT_SET of key 'a' is not set",
    ),
    "a variable that is empty": (
        "t: {keys: [{id: a, env: EMPTY}]}  # <-",
        "the environment variable EMPTY of key 'a' is not set",
    ),
    "a variable that is no name": (
        "t: {keys: [{id: a, env: sk-secret}]}  # <-",
        "'env' in 'keys' of team 't' is not the name of an environment variable such as OPENAI_API_KEY; a key itself "
        "never stands here",
    ),
    "neither a digest nor a variable": (
        "t: {keys: [{id: a}]}  # <-",
        "key 'a' needs either 'sha256' or 'env'",
    ),
    "both a digest and a variable": (
        f"t: {{keys: [{{id: a, env: KEY_A, sha256: {'0' * 64}}}]}}  # <-",
        "key 'a' needs only one of 'sha256' and 'env'",
    ),
    "a key id twice": (
        "t: {keys: [{id: a, env: KEY_A}]}\n  u: {keys: [{id: a, env: KEY_B}]}  # <-",
        "key id 'a' stands twice: team 't' has it already",
    ),
    "one key for two teams": (
        "t: {keys: [{id: a, env: KEY_A}]}\n  u: {keys: [{id: b, env: SAME_AS_A}]}  # <-",
        "key 'b' is the same key as 'a' of team 't'",
    ),
}

PROVIDERS = {
    "a misspelt provider": (
        "opnai: {base_url_env: X}  # <-",
        "provider 'opnai' is new here, so it needs 'jurisdiction', 'key_env' and 'dialect'; did you mean 'openai'?",
    ),
    "a new provider without its keys": (
        "mistral: {via: litellm}  # <-",
        "provider 'mistral' is new here, so it needs 'jurisdiction' and 'key_env'",
    ),
    "an unknown way": (
        "openai: {via: htpp}  # <-",
        "'via' in provider 'openai' is 'htpp'; it is one of http, litellm; did you mean 'http'?",
    ),
    "an unknown dialect": (
        "openai: {dialect: opneai}  # <-",
        "unknown dialect 'opneai'; there are 'openai', 'deepseek' and 'google'; did you mean 'openai'?",
    ),
    "a dialect for litellm": (
        "openai: {via: litellm, dialect: openai}  # <-",
        "litellm answers in OpenAI's shape whatever it speaks itself; delete 'dialect'",
    ),
    "litellm's name without litellm": (
        "openai: {litellm_provider: openai}  # <-",
        "'litellm_provider' is for a provider with 'via: litellm'",
    ),
    "a base URL that is none": (
        "openai: {base_url: api.openai.com}  # <-",
        "'base_url' in provider 'openai' is not a URL that begins with https:// or http://",
    ),
    "a base URL with a password": (
        "openai: {base_url: 'https://me:secret@host/v1'}  # <-",
        "'base_url' in provider 'openai' holds a user name or password; secrets stand in environment variables, "
        "see key_env",
    ),
    "a base URL from the environment that is none": (
        "openai: {base_url_env: BAD_URL}  # <-",
        "the value of the environment variable BAD_URL is not a URL that begins with https:// or http://",
    ),
    "no base URL at all": (
        "local: {dialect: openai, base_url_env: NOT_SET, key_env: null, jurisdiction: US}  # <-",
        "NOT_SET is not set, and there is no 'base_url' beside it",
    ),
    "a word for true": (
        "openai: {abort_stops_billing: yes}  # <-",
        "'abort_stops_billing' in provider 'openai' is 'yes', not true or false",
    ),
    "a key in place of its variable": (
        "openai: {key_env: sk-secret}  # <-",
        "'key_env' in provider 'openai' is not the name of an environment variable such as OPENAI_API_KEY; a key "
        "itself never stands here",
    ),
}

MODELS = {
    "a model of an unknown provider": (
        "opnai/x: {context_tokens: 1}  # <-",
        "unknown provider 'opnai' in model 'opnai/x'; did you mean 'openai'?",
    ),
    "a misspelt model": (
        "openai/bigg: {expected_output_tokens: 5}  # <-",
        "model 'openai/bigg' is new here, so it needs 'context_tokens', 'max_output_tokens' and 'capabilities'; "
        "did you mean 'openai/big'?",
    ),
    "a bare model": (
        "big: {context_tokens: 1}  # <-",
        "a key of 'models' is 'big', not a model id; write provider/model",
    ),
    "an unknown capability": (
        "openai/big: {capabilities: [tools, visoin]}  # <-",
        "entry 2 of 'capabilities' in model 'openai/big' is 'visoin'; it is one of tools, json_object, json_schema, "
        "vision, audio, logprobs, n, reasoning; did you mean 'vision'?",
    ),
    "an unknown status": (
        "openai/big: {quality: {code: {score: 1, status: guessed, source: us, read: 2026-01-01}}}  # <-",
        "'status' in 'code' of model 'openai/big' is 'guessed'; it is one of announced, measured, rumoured",
    ),
    "a score above 100": (
        "openai/big: {quality: {code: {score: 100.1, status: measured, source: us, read: 2026-01-01}}}  # <-",
        "'score' in 'code' of model 'openai/big' is 100.1; it must be 100 or less",
    ),
    "a date that is none": (
        "openai/big: {deprecated_on: 2026-02-30}  # <-",
        "'deprecated_on' in model 'openai/big' is '2026-02-30', not a date such as 2026-12-31",
    ),
}

ENV = {"KEY_A": "a" * 32, "KEY_B": "b" * 32, "SAME_AS_A": "a" * 32 + "\n", "EMPTY": "", "BAD_URL": "secret-host"}


def sections(name, cases):
    return {f"{name}: {case}": (f"{MINIMAL}{name}:\n  {text}", said) for case, (text, said) in cases.items()}


ALL = {
    **FILES,
    **sections("teams", TEAMS),
    **sections("providers", PROVIDERS),
    **sections("models", MODELS),
}


@pytest.mark.parametrize(("text", "message"), ALL.values(), ids=ALL)
def test_a_mistake_in_a_file(tmp_path, text, message):
    found = mistakes(tmp_path, text, ENV)

    assert [(one.line, one.message) for one in found] == [(marked_lines(text)[0], message)]


@pytest.mark.parametrize("text", [text for text, _ in ALL.values()], ids=ALL)
def test_no_mistake_repeats_a_secret(tmp_path, text):
    said = " ".join(map(str, mistakes(tmp_path, text, ENV)))

    assert "secret" not in said.replace("secrets stand in", "")
    assert "a" * 32 not in said
