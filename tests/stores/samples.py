"""Records to book: one by hand, many by chance from a seed."""

import random

import msgspec

from gateway.core.corrections import correction, reversal
from gateway.core.money import Nano
from gateway.core.records import SpendRecord, State, UsageSource

ONE = SpendRecord(
    attempt_id="01JXZ0000000000000000001.1",
    request_id="01JXZ0000000000000000001",
    attempt=1,
    at_us=1_795_392_000_000_000,  # 2026-11-23T00:00:00Z
    route="auto",
    policy="cheapest",
    kind="overall",
    team="search",
    key_id="key-1",
    provider="deepseek",
    model="deepseek/v4-flash",
    simulated=False,
    stream=True,
    cache="miss",
    state=State.SETTLED,
    outcome="ok",
    status=200,
    finish_reason="stop",
    usage_source=UsageSource.PROVIDER,
    input_tokens=1200,
    cached_input_tokens=800,
    cache_write_tokens=0,
    output_tokens=300,
    reasoning_tokens=40,
    service_tier=None,
    price_id="deepseek/v4-flash@2026-09-10",
    expected_nano=Nano(400_000),
    cost_nano=Nano(386_400),
    baseline_model="openai/gpt-6",
    baseline_price_id="openai/gpt-6@2026-07-30",
    baseline_nano=Nano(5_150_001),
    duration_us=1_234_567,
    ttft_us=321_000,
    candidates='[{"model":"deepseek/v4-flash","expected_nano":400000}]',
    drops="[]",
)
OUTCOMES = ["ok"] * 6 + [
    "cached", "aborted", "revalidated", "http_503", "timeout", "disconnected", "malformed", "truncated",
]  # fmt: skip
DAY_US = 86_400_000_000


def numbered(count: int, *, start: int = 0, **changes: object) -> list[SpendRecord]:
    return [
        msgspec.structs.replace(ONE, attempt_id=f"a{number:012d}.1", request_id=f"a{number:012d}", **changes)
        for number in range(start, start + count)
    ]


def by_chance(seed: int, count: int) -> list[SpendRecord]:
    """Records in which everything that is grouped, filtered or summed varies."""
    dice = random.Random(seed)
    return [
        msgspec.structs.replace(
            one,
            request_id=f"r{dice.randrange(count)}",
            attempt=dice.randint(1, 3),
            at_us=ONE.at_us + dice.randrange(5 * DAY_US),
            route=dice.choice(["auto", "cheap", "code"]),
            policy=dice.choice(["cheapest", "best"]),
            team=dice.choice(["search", "support", "Zürich", "東京"]),
            key_id=dice.choice(["key-1", "key-2"]),
            provider=dice.choice(["openai", "deepseek", "google"]),
            model=dice.choice(["m1", "m2", "m3", "M1"]),
            simulated=dice.random() < 0.3,
            state=dice.choice([State.SETTLED, State.SETTLED, State.UNCERTAIN]),
            outcome=dice.choice(OUTCOMES),
            cache=dice.choice(["off", "hit", "miss", "bypass", "coalesced", "stale", "semantic", "revalidation"]),
            input_tokens=dice.randrange(10**6),
            cached_input_tokens=dice.randrange(10**6),
            cache_write_tokens=dice.randrange(10**4),
            output_tokens=dice.randrange(10**5),
            reasoning_tokens=dice.randrange(10**5),
            service_tier=dice.choice([None, "flex"]),
            cost_nano=Nano(dice.choice([0, 1, dice.randrange(10**10), dice.randrange(2**52)])),
            baseline_nano=Nano(dice.choice([0, dice.randrange(10**10), dice.randrange(2**52)])),
            ttft_us=dice.choice([None, dice.randrange(10**7)]),
        )
        for one in numbered(count)
    ]


def varied(seed: int, count: int) -> list[SpendRecord]:
    """`by_chance` with all that came later: organisations, tags, end users, audio and images, and corrected rows."""
    dice = random.Random(seed)
    found = []
    for one in by_chance(seed, count):
        tags = {name: dice.choice(TAG_VALUES) for name in sorted(TAG_NAMES) if dice.random() < 0.4}
        record = msgspec.structs.replace(
            one,
            organisation=dice.choice(["", "acme"]),
            end_user=dice.choice([None, "u1", "u2"]),
            tags=msgspec.json.encode(tags).decode(),
            audio_input_tokens=dice.choice([0, dice.randrange(1000)]),
            image_input_tokens=dice.choice([0, dice.randrange(1000)]),
            audio_output_tokens=dice.choice([0, dice.randrange(1000)]),
            image_output_tokens=dice.choice([0, dice.randrange(1000)]),
            hold_nano=Nano(dice.randrange(10**9)),
        )
        found.append(record)
        if dice.random() < 0.3:
            found += [reversal(record), correction(record, cost_nano=Nano(dice.randrange(10**10)))]
    return found


TAG_NAMES = ["project", 'a"b\\c', "größe.2", "$[0]"]
TAG_VALUES = ["x", "y", "", "東京", 'q"\\']
