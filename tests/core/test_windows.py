"""Windows of budgets: every instant in exactly one slot, whatever the clocks of a zone do."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.budget import Slot, Unit, Window

# Clocks that change at midnight (Havana, Santiago, Beirut, Cairo, Azores), by two hours (Troll), against the season
# (Casablanca, Sydney), and one that once left out a whole day (Apia).
ZONES = """UTC Europe/Berlin America/New_York America/Havana America/Santiago Asia/Beirut Africa/Cairo Atlantic/Azores
    Antarctica/Troll Africa/Casablanca Australia/Sydney Pacific/Apia America/Nuuk Asia/Gaza Asia/Shanghai""".split()
HOUR_S = 3_600
DAY_S = 24 * HOUR_S


def second(text: str, zone: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp())


WINDOWS = st.builds(Window, st.sampled_from(Unit), st.just(True)) | st.builds(
    Window, st.sampled_from(Unit), st.just(False), st.sampled_from(ZONES).map(ZoneInfo)
)
INSTANTS = st.integers(second("2000-01-01"), second("2037-12-31"))


@settings(max_examples=500, deadline=None)
@given(window=WINDOWS, at_s=INSTANTS)
def test_every_instant_lies_in_one_slot_and_slots_touch(window: Window, at_s: int):
    slot = window.slot(at_s)
    assert slot.start_s <= at_s < slot.end_s
    assert window.slot(slot.start_s) == window.slot(slot.end_s - 1) == slot
    assert window.slot(slot.end_s).start_s == slot.end_s
    assert window.slot(slot.start_s - 1).end_s == slot.start_s


@settings(max_examples=300, deadline=None)
@given(unit=st.sampled_from([Unit.DAY, Unit.MONTH]), zone=st.sampled_from(ZONES), at_s=INSTANTS)
def test_a_calendar_slot_is_the_day_or_month_that_its_zone_shows(unit: Unit, zone: str, at_s: int):
    slot = Window(unit, zone=ZoneInfo(zone)).slot(at_s)

    def shown(instant_s: int) -> tuple[int, ...]:
        local = datetime.fromtimestamp(instant_s, ZoneInfo(zone))
        return (local.year, local.month, local.day)[: 3 if unit is Unit.DAY else 2]

    assert shown(slot.start_s) == shown(at_s) == shown(slot.end_s - 1)
    assert shown(slot.start_s - 1) != shown(at_s) != shown(slot.end_s)


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23), ("Europe/Berlin", "2026-10-25", 25), ("Europe/Berlin", "2026-11-23", 24),
        ("America/New_York", "2026-03-08", 23), ("America/Havana", "2026-11-01", 25),
        ("America/Santiago", "2026-09-06", 23), ("Antarctica/Troll", "2026-03-29", 22), ("UTC", "2026-03-29", 24),
    ],
)  # fmt: skip
def test_a_day_is_as_long_as_its_clocks_make_it(zone: str, day: str, hours: int):
    slot = Window(Unit.DAY, zone=ZoneInfo(zone)).slot(second(f"{day}T12:00", zone))
    assert slot.end_s - slot.start_s == hours * HOUR_S


@pytest.mark.parametrize(
    ("month", "days"), [("2026-01", 31), ("2026-02", 28), ("2028-02", 29), ("2026-04", 30), ("2026-12", 31)]
)
def test_a_month_is_as_long_as_the_calendar_says(month: str, days: int):
    start = second(f"{month}-01")
    for at_s in (start, start + 15 * DAY_S, start + days * DAY_S - 1):
        assert Window(Unit.MONTH).slot(at_s) == Slot(start, start + days * DAY_S)


@pytest.mark.parametrize(("unit", "length_s"), [(Unit.HOUR, HOUR_S), (Unit.DAY, DAY_S), (Unit.MONTH, 30 * DAY_S)])
def test_a_rolling_window_reaches_back_its_length_and_its_slots_are_the_ledgers_hours(unit: Unit, length_s: int):
    window = Window(unit, rolling=True)
    at_s = second("2026-11-23T12:34:56")
    slot = window.slot(at_s)
    assert slot.end_s - window.began_s(slot) == length_s
    if unit is not Unit.HOUR:
        assert slot.start_s % HOUR_S == window.began_s(slot) % HOUR_S == 0


def test_an_hour_is_a_full_hour_in_winter_and_summer():
    berlin = Window(Unit.HOUR, zone=ZoneInfo("Europe/Berlin"))
    for at in ("2026-10-25T00:30", "2026-10-25T01:30", "2026-07-01T12:59"):
        at_s = int(datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp())
        assert berlin.slot(at_s) == Slot(at_s - at_s % HOUR_S, at_s - at_s % HOUR_S + HOUR_S)
