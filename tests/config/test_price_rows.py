"""Price rows of routes.yaml: their mistakes, and how they go with the shipped ones."""

from datetime import UTC, datetime

import pytest
from conffiles import MINIMAL, loaded, marked_lines, mistakes

ROW = """\
prices:
  - id: own@1
    model: openai/small
    effective_from: 2027-01-01T00:00:00Z
    status: announced
    source: a contract
    read: 2026-01-01
    rates: {input: "1", output: "2"}
"""

SECOND = ROW.replace("prices:\n", "").replace("own@1", "own@2").replace("2027-01-01", "2027-02-01")

WINDOW = """\
    windows:
      - name: peak
        zone: Asia/Shanghai
        days: [mon, tue]
        hours: ["09:00-12:00"]
        except_holidays: cn-public
        rates: {input: "2", output: "4"}
"""

EXCEPT = "        except_holidays: cn-public\n"
SECOND_WINDOW = WINDOW.replace("    windows:\n", "").replace("peak", "late").replace("09:00-12:00", "12:00-24:00")

HOLIDAYS = "holidays:\n  ours: {zone: Asia/Shanghai, covers: {from: 2026-01-01, until: 2026-12-31}, source: us, "

CASES = {
    "an unknown model": (
        ROW.replace("openai/small", "openai/smal  # <-"),
        "unknown model 'openai/smal'; did you mean 'openai/small'?",
    ),
    "a price with too many decimals": (
        ROW.replace('{input: "1", output: "2"}', '{input: "0.1234567", output: 2}  # <-'),
        "'input' in 'rates' of price row 1 is no price: '0.1234567' must be zero or more, with at most 6 decimals, "
        "in dollars per million tokens",
    ),
    "a negative price": (
        ROW.replace('{input: "1", output: "2"}', "{input: 1, output: -2}  # <-"),
        "'output' in 'rates' of price row 1 is no price: '-2' must be zero or more, with at most 6 decimals, "
        "in dollars per million tokens",
    ),
    "a price that nobody asks": (
        ROW.replace('{input: "1", output: "2"}', "{input: 1e9, output: 2}  # <-"),
        "'input' in 'rates' of price row 1 is 1E+9, which is no price anyone asks",
    ),
    "no output price": (
        ROW.replace('{input: "1", output: "2"}', "{input: 1}  # <-"),
        "'rates' of price row 1 has no 'output'",
    ),
    "no status": (
        ROW.replace("    status: announced\n", "").replace("  - id: own@1", "  - id: own@1  # <-"),
        "price row 1 has no 'status'",
    ),
    "a day for an instant": (
        ROW.replace("2027-01-01T00:00:00Z", "2027-01-01  # <-"),
        "'effective_from' in price row 1 is 2027-01-01, not an instant such as 2026-12-01T00:00:00Z",
    ),
    "an instant without a zone": (
        ROW.replace("2027-01-01T00:00:00Z", "2027-01-01T00:00:00  # <-"),
        "'effective_from' in price row 1 is 2027-01-01T00:00:00, which names no time zone; write Z for UTC, or an "
        "offset such as +08:00",
    ),
    "an instant for a day": (
        ROW.replace("read: 2026-01-01", "read: 2026-01-01T00:00:00Z  # <-"),
        "'read' in price row 1 is 2026-01-01T00:00:00Z, not a date such as 2026-12-31",
    ),
    "an end before the beginning": (
        ROW + "    effective_until: 2026-12-31T23:59:59Z  # <-\n",
        "price row 'own@1' ends before it begins",
    ),
    "an id twice": (
        ROW + SECOND.replace("own@2", "own@1  # <-"),
        "price row id 'own@1' stands twice; the first is on line 6 of {file}",
    ),
    "the id of a shipped row": (
        ROW.replace("own@1", "big@2026-01-01  # <-"),
        "price row id 'big@2026-01-01' stands twice; the first is on line 33 of gateway/pricebook/openai.yaml",
    ),
    "two rows from one instant": (
        ROW + SECOND.replace("2027-02-01T00:00:00Z", "2027-01-01T08:00:00+08:00  # <-"),
        "price row 'own@2' overlaps 'own@1': both begin at 2027-01-01T00:00:00Z",
    ),
    "rows that overlap": (
        ROW + "    effective_until: 2027-03-01T00:00:00Z\n" + SECOND.replace("00:00:00Z", "00:00:00Z  # <-"),
        "price row 'own@2' overlaps 'own@1': that one ends at 2027-03-01T00:00:00Z, this one begins at "
        "2027-02-01T00:00:00Z",
    ),
    "context tiers that do not ascend": (
        ROW + "    context_tiers:\n"
        "      - {above_input_tokens: 200, rates: {input: 1, output: 1}}\n"
        "      - {above_input_tokens: 200, rates: {input: 1, output: 1}}  # <-\n",
        "context tiers of price row 'own@1' do not ascend: 200 stands after 200",
    ),
    "a service tier's context tiers that do not ascend": (
        ROW + "    service_tiers:\n      flex:\n        input: 1\n        output: 1\n        context_tiers:\n"
        "          - {above_input_tokens: 200, rates: {input: 1, output: 1}}\n"
        "          - {above_input_tokens: 100, rates: {input: 1, output: 1}}  # <-\n",
        "context tiers of service tier 'flex' in price row 'own@1' do not ascend: 100 stands after 200",
    ),
    "a negative price of audio": (
        ROW.replace('output: "2"}', 'output: "2", audio_input: "-1"}  # <-'),
        "'audio_input' in 'rates' of price row 1 is no price: '-1' must be zero or more, with at most 6 decimals, "
        "in dollars per million tokens",
    ),
    "two rumours from one instant": (
        (ROW + SECOND).replace("announced", "rumoured").replace("2027-02-01T00:00:00Z", "2027-01-01T00:00:00Z  # <-"),
        "price row 'own@2' overlaps 'own@1': both begin at 2027-01-01T00:00:00Z",
    ),
    "days of another zone": (
        ROW + WINDOW.replace("Asia/Shanghai", "Asia/Hong_Kong  # <-"),
        "window 'peak' of price row 'own@1' is in the time zone Asia/Hong_Kong, and the days of 'cn-public' are in "
        "Asia/Shanghai; write both in one",
    ),
    "an unknown zone": (
        ROW + WINDOW.replace("Asia/Shanghai", "Asia/Shangai  # <-"),
        "'zone' in 'windows' of price row 1 is 'Asia/Shangai', not a time zone such as Asia/Shanghai; did you mean "
        "'Asia/Shanghai'?",
    ),
    "an unknown day": (
        ROW + WINDOW.replace("[mon, tue]", "[mon, tues]  # <-"),
        "entry 2 of 'days' in 'windows' of price row 1 is 'tues'; it is one of mon, tue, wed, thu, fri, sat, sun; "
        "did you mean 'tue'?",
    ),
    "hours that are none": (
        ROW + WINDOW.replace('["09:00-12:00"]', "[9-12]  # <-"),
        "entry 1 of 'hours' in 'windows' of price row 1 is '9-12'; hours are written \"09:00-12:00\"",
    ),
    "hours past the day": (
        ROW + WINDOW.replace('["09:00-12:00"]', '["09:00-24:01"]  # <-'),
        "entry 1 of 'hours' in 'windows' of price row 1 is '09:00-24:01'; a day ends at 24:00",
    ),
    "hours over midnight": (
        ROW + WINDOW.replace('["09:00-12:00"]', '["22:00-06:00"]  # <-'),
        "entry 1 of 'hours' in 'windows' of price row 1 is '22:00-06:00', which ends before it begins; split hours "
        "over midnight at 24:00",
    ),
    "hours that overlap": (
        ROW + WINDOW.replace('["09:00-12:00"]', '["09:00-12:00", "11:59-13:00"]  # <-'),
        "hours of window 'peak' in price row 'own@1' overlap",
    ),
    "an unknown holiday list": (
        ROW + WINDOW.replace("cn-public", "cn_public  # <-"),
        "unknown holiday list 'cn_public' in price row 'own@1'; did you mean 'cn-public'?",
    ),
    "windows that overlap": (
        ROW + WINDOW + SECOND_WINDOW.replace("12:00-24:00", "11:00-24:00").replace("name: late", "name: late  # <-"),
        "windows 'peak' and 'late' of price row 'own@1' overlap; at one instant only one may hold",
    ),
    "windows of one name": (
        ROW + WINDOW + SECOND_WINDOW.replace("late", "peak  # <-"),
        "two windows of price row 'own@1' have the name 'peak'; the ledger names them",
    ),
    "windows in two zones": (
        ROW + WINDOW + SECOND_WINDOW.replace("Asia/Shanghai", "UTC  # <-").replace(EXCEPT, ""),
        "windows 'peak' and 'late' of price row 'own@1' are in different time zones; write both in one",
    ),
    "a holiday outside its period": (
        HOLIDAYS + "dates: [2027-01-01]}  # <-",
        "2027-01-01 lies outside the period that holiday list 'ours' covers",
    ),
    "a holiday period that ends first": (
        HOLIDAYS.replace("until: 2026", "until: 2025") + "dates: []}  # <-",
        "holiday list 'ours' ends on 2025-12-31, before it begins",
    ),
}


@pytest.mark.parametrize(("rows", "message"), CASES.values(), ids=CASES)
def test_a_mistake_in_a_price_row(tmp_path, rows, message):
    text = MINIMAL + rows

    found = mistakes(tmp_path, text)

    expected = message.replace("{file}", str(tmp_path / "routes.yaml"))
    assert [(one.line, one.message) for one in found] == [(marked_lines(text)[0], expected)]


def test_windows_that_meet_do_not_overlap(tmp_path):
    assert mistakes(tmp_path, MINIMAL + ROW + WINDOW + SECOND_WINDOW) == ()


def test_a_rumour_may_say_otherwise_than_a_price(tmp_path):
    rumour = SECOND.replace("announced", "rumoured").replace("2027-02-01", "2027-01-01")

    assert mistakes(tmp_path, MINIMAL + ROW + rumour) == ()


# Days off -----------------------------------------------------------------------------------------------------------

ENDS = (
    "holiday list 'cn-public' ends on 2026-12-31, and price row 'flash@2026-01-01' needs its days beyond: enter those "
    "of the following year, or end the row"
)


@pytest.mark.parametrize(
    ("now", "refused"), [(datetime(2026, 12, 1, 12, tzinfo=UTC), False), (datetime(2026, 12, 2, 12, tzinfo=UTC), True)]
)
def test_a_holiday_list_must_reach_30_days_ahead(tmp_path, now, refused):
    found = mistakes(tmp_path, MINIMAL, now=now)

    assert [(one.file, one.line, one.message) for one in found] == [
        ("gateway/pricebook/deepseek.yaml", 3, ENDS)
    ] * refused


def test_a_holiday_list_that_ended_is_refused_too(tmp_path):
    assert [one.message for one in mistakes(tmp_path, MINIMAL, now=datetime(2028, 1, 1, tzinfo=UTC))] == [ENDS]


def test_a_longer_list_of_that_name_in_routes_yaml_will_do(tmp_path):
    ours = HOLIDAYS.replace("ours", "cn-public").replace("until: 2026", "until: 2027") + "dates: [2027-01-01]}"

    assert mistakes(tmp_path, MINIMAL + ours, now=datetime(2026, 12, 20, tzinfo=UTC)) == ()


def test_a_row_that_ends_with_the_list_needs_no_further_days(tmp_path):
    flat = ROW.replace("openai/small", "deepseek/flash").replace("2027-01-01T00:00:00Z", "2026-12-31T16:00:00Z")

    assert mistakes(tmp_path, MINIMAL + flat, now=datetime(2026, 12, 20, tzinfo=UTC)) == ()


def at(month, day=1, hour=0, year=2026):
    return datetime(year, month, day, hour, tzinfo=UTC)


def ids(prices, model, *instants):
    found = [prices.at(model, instant) for instant in instants]
    return [None if price is None else price.id for price in found]


def test_left_out_rates_are_those_of_input_and_output(tmp_path):
    prices = loaded(tmp_path, MINIMAL).world.market.prices

    big, small = prices.at("openai/big", at(2)), prices.at("openai/small", at(2))

    assert (big.base.cached_input, big.base.cache_write, big.base.reasoning) == (500_000, 5_000_000, 30_000_000)
    assert (small.base.input, small.base.output, small.base.reasoning) == (100_000, 400_000, 500_000)


def test_a_rumoured_row_is_never_in_force(tmp_path):
    assert loaded(tmp_path, MINIMAL).world.market.prices.at("deepseek/unpriced", at(6)) is None


def test_an_own_row_goes_before_shipped_rows_while_it_holds(tmp_path):
    # openai/big is shipped from 2026-01-01 and dearer from 2026-07-01
    own = ROW.replace("openai/small", "openai/big").replace("2027-01-01", "2026-03-01")
    own += "    effective_until: 2026-09-01T00:00:00Z\n"

    prices = loaded(tmp_path, MINIMAL + own).world.market.prices

    found = ids(prices, "openai/big", at(2), at(3), at(7), at(8, 31, 23), at(9), at(1, year=2028))
    assert found == ["big@2026-01-01", "own@1", "own@1", "own@1", "big@2026-07-01", "big@2026-07-01"]


def test_an_own_row_without_an_end_stays_in_force(tmp_path):
    own = ROW.replace("openai/small", "openai/big").replace("2027-01-01", "2026-03-01")

    prices = loaded(tmp_path, MINIMAL + own).world.market.prices

    assert ids(prices, "openai/big", at(2), at(3), at(7), at(1, year=2040)) == ["big@2026-01-01", *["own@1"] * 3]


def test_an_own_rumour_replaces_nothing(tmp_path):
    own = ROW.replace("openai/small", "openai/big").replace("2027-01-01", "2026-03-01").replace("announced", "rumoured")

    prices = loaded(tmp_path, MINIMAL + own).world.market.prices

    assert ids(prices, "openai/big", at(3), at(7)) == ["big@2026-01-01", "big@2026-07-01"]


def test_own_rows_with_a_gap_leave_the_gap_to_the_shipped_row(tmp_path):
    own = ROW.replace("2027-01-01", "2026-03-01") + "    effective_until: 2026-04-01T00:00:00Z\n"
    own += SECOND.replace("2027-02-01", "2026-05-01")

    prices = loaded(tmp_path, MINIMAL + own).world.market.prices

    found = ids(prices, "openai/small", at(2), at(3), at(4), at(5), at(6))
    assert found == ["small@2026-01-01", "own@1", "small@2026-01-01", "own@2", "own@2"]


def test_a_holiday_list_of_a_known_name_replaces_the_shipped_one(tmp_path):
    # 2026-06-19 is a Friday and a holiday in the shipped list
    friday = datetime(2026, 6, 19, 2, tzinfo=UTC)
    ours = HOLIDAYS.replace("ours", "cn-public") + "dates: []}"

    before = loaded(tmp_path, MINIMAL).world.market.prices.at("deepseek/flash", friday)
    after = loaded(tmp_path, MINIMAL + ours).world.market.prices.at("deepseek/flash", friday)

    assert (before.id, after.id) == ("flash@2026-01-01", "flash@2026-01-01#peak")
