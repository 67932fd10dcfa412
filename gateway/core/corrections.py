"""A row that turned out wrong is put right by two more: one takes it back, one says what is now known.

Both carry the time of the first, so that every period's sums come out as if it had been right at once. The ids are made
from the first one's: booking the same correction twice is booking it once. What stands after a correction is the new
row, and a further correction starts from that one.
"""

from __future__ import annotations

import msgspec

from .money import Nano
from .pricing import Usage
from .records import SpendRecord, State, UsageSource


def reversal(record: SpendRecord) -> SpendRecord:
    """The row that takes `record` back: whatever is summed is negated, times taken included.

    Raises ValueError for a row that takes another one back itself.
    """
    _standing(record)
    return msgspec.structs.replace(
        record,
        attempt_id=f"{record.attempt_id}~r",
        corrects=record.attempt_id,
        sign=-1,
        input_tokens=-record.input_tokens,
        cached_input_tokens=-record.cached_input_tokens,
        cache_write_tokens=-record.cache_write_tokens,
        output_tokens=-record.output_tokens,
        reasoning_tokens=-record.reasoning_tokens,
        audio_input_tokens=-record.audio_input_tokens,
        image_input_tokens=-record.image_input_tokens,
        audio_output_tokens=-record.audio_output_tokens,
        image_output_tokens=-record.image_output_tokens,
        expected_nano=Nano(-record.expected_nano),
        cost_nano=Nano(-record.cost_nano),
        baseline_nano=Nano(-record.baseline_nano),
        hold_nano=Nano(-record.hold_nano),
        duration_us=-record.duration_us,
        ttft_us=None if record.ttft_us is None else -record.ttft_us,
    )


def correction(
    record: SpendRecord,
    *,
    cost_nano: Nano,
    usage: Usage | None = None,
    baseline_nano: Nano | None = None,
    price_id: str | None = None,
    state: State = State.SETTLED,
    usage_source: UsageSource = UsageSource.PROVIDER,
) -> SpendRecord:
    """The row that stands in the place of `record` once its reversal is booked. What is not given is as it was.

    Raises ValueError for a row that takes another one back.
    """
    _standing(record)
    known = msgspec.structs.replace(
        record,
        attempt_id=f"{record.attempt_id}~c",
        corrects=record.attempt_id,
        cost_nano=cost_nano,
        baseline_nano=record.baseline_nano if baseline_nano is None else baseline_nano,
        price_id=record.price_id if price_id is None else price_id,
        state=state,
        usage_source=usage_source,
    )
    return known if usage is None else _with_usage(known, usage)


def found_after_all(lost: SpendRecord, record: SpendRecord) -> tuple[SpendRecord, SpendRecord]:
    """The two rows that put the true end of an attempt in the place of the row that gave it up as lost."""
    true = msgspec.structs.replace(record, attempt_id=f"{lost.attempt_id}~c", corrects=lost.attempt_id)
    return reversal(lost), true


def _with_usage(record: SpendRecord, usage: Usage) -> SpendRecord:
    return msgspec.structs.replace(
        record, **{f"{name}_tokens": tokens for name, tokens in msgspec.structs.asdict(usage).items()}
    )


def _standing(record: SpendRecord) -> None:
    if record.sign != 1:
        raise ValueError(f"{record.attempt_id} takes {record.corrects} back and cannot be corrected itself")
