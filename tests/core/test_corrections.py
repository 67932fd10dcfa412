"""A wrong row, its reversal and its correction add up to the right one."""

import msgspec
import pytest

from gateway.core.corrections import correction, reversal
from gateway.core.money import Nano
from gateway.core.pricing import Usage
from gateway.core.records import SpendRecord, State, UsageSource
from tests.stores.samples import ONE

WRONG = msgspec.structs.replace(
    ONE, state=State.UNCERTAIN, usage_source=UsageSource.ESTIMATED, hold_nano=Nano(9_000_000), audio_input_tokens=5,
    image_input_tokens=6, audio_output_tokens=7, image_output_tokens=8,
)  # fmt: skip
USAGE = Usage(input=10, cached_input=20, cache_write=30, output=40, reasoning=50, image_output=3)
SUMMED = [
    field
    for field in SpendRecord.__struct_fields__
    if field == "sign" or (field.endswith(("_nano", "_tokens", "_us")) and field != "at_us")
]


def sums(*records: SpendRecord) -> dict[str, int]:
    return {name: sum(getattr(record, name) for record in records) for name in SUMMED}


def test_three_rows_sum_to_the_corrected_one():
    right = correction(WRONG, cost_nano=Nano(123), usage=USAGE, baseline_nano=Nano(456), price_id="p@2026-01-01")

    assert sums(WRONG, reversal(WRONG), right) == sums(right)
    assert (right.cost_nano, right.baseline_nano, right.price_id) == (123, 456, "p@2026-01-01")
    assert (right.state, right.usage_source) == (State.SETTLED, UsageSource.PROVIDER)
    assert (right.input_tokens, right.reasoning_tokens, right.image_output_tokens) == (10, 50, 3)
    assert (right.audio_input_tokens, right.hold_nano) == (0, WRONG.hold_nano)


def test_a_reversal_takes_back_everything_that_is_summed_and_keeps_the_rest():
    back = reversal(WRONG)

    assert set(sums(WRONG, back).values()) == {0}
    kept = set(SpendRecord.__struct_fields__) - set(SUMMED) - {"attempt_id", "corrects"}
    assert {name for name in kept if getattr(back, name) != getattr(WRONG, name)} == set()
    assert (back.attempt_id, back.corrects) == (f"{WRONG.attempt_id}~r", WRONG.attempt_id)
    assert reversal(msgspec.structs.replace(WRONG, ttft_us=None)).ttft_us is None


def test_what_is_not_given_stays_as_it_was():
    right = correction(WRONG, cost_nano=Nano(1))
    changed = {name for name in SpendRecord.__struct_fields__ if getattr(right, name) != getattr(WRONG, name)}
    assert changed == {"attempt_id", "corrects", "cost_nano", "state", "usage_source"}
    assert (right.attempt_id, right.corrects) == (f"{WRONG.attempt_id}~c", WRONG.attempt_id)


def test_a_correction_may_be_corrected_and_a_reversal_may_not():
    first = correction(WRONG, cost_nano=Nano(1))
    second = correction(first, cost_nano=Nano(2))

    assert sums(WRONG, reversal(WRONG), first, reversal(first), second) == sums(second)
    assert second.corrects == first.attempt_id
    for again in (reversal, lambda record: correction(record, cost_nano=Nano(0))):
        with pytest.raises(ValueError, match="takes 01JXZ0000000000000000001.1 back"):
            again(reversal(WRONG))
