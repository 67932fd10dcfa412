"""What a request's headers may ask of its route's terms: each header, what it refuses, and what loosens."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.catalog import AUTO
from gateway.core.errors import GatewayError
from gateway.core.money import nano_from_usd
from gateway.core.route import Delivery, Route, Timeouts
from gateway.core.terms import AS_THE_ROUTE, HEADERS, Terms, Words, read_terms, under
from gateway.policies import POLICIES
from tests.core.market import ALL

WORDS = Words(POLICIES, frozenset({"overall", "code", "chat"}), frozenset({"US", "CN"}))
STRICT = Route(
    "auto", POLICIES["cheapest"], ALL, kind="code", floors={"code": 70.0, "overall": 60.0},
    max_cost_nano=nano_from_usd("0.05"), jurisdictions=frozenset({"US"}), timeouts=Timeouts(total=30.0),
)  # fmt: skip
FREE = Route("auto", POLICIES["cheapest"], ALL)


def test_every_header_is_read():
    given = {
        "policy": "best", "quality-floor": "72.5", "max-cost-usd": "0.05", "jurisdictions": "US, CN,US",
        "timeout-ms": "2500", "kind": "code", "delivery": "whole",
    }  # fmt: skip

    assert {header.decode().removeprefix("x-gateway-") for header in HEADERS} == set(given)
    assert read_terms(given, WORDS) == Terms(
        "best", 72.5, nano_from_usd("0.05"), ("CN", "US"), 2_500, "code", Delivery.WHOLE
    )
    assert read_terms({}, WORDS) is AS_THE_ROUTE


@pytest.mark.parametrize(
    ("name", "value", "takes"),
    [
        ("policy", "cheepest", "one of best, cheapest, fastest, ordered, split, value"),
        ("policy", "", "one of best"),
        ("quality-floor", "high", "a number from 0 to 100"),
        ("quality-floor", "-1", "a number from 0 to 100"),
        ("quality-floor", "100.1", "a number from 0 to 100"),
        ("quality-floor", "nan", "a number from 0 to 100"),
        ("quality-floor", "inf", "a number from 0 to 100"),
        ("max-cost-usd", "cheap", "an amount in US dollars, such as 0.05"),
        ("max-cost-usd", "-0.05", "an amount in US dollars"),
        ("max-cost-usd", "1000000.01", "an amount in US dollars, such as 0.05, up to 1,000,000"),
        ("max-cost-usd", "1e9999", "an amount in US dollars"),
        ("max-cost-usd", "0.0000000001", "an amount in US dollars"),
        ("jurisdictions", "DE", "countries where a provider is, of CN, US"),
        ("jurisdictions", "us", "countries where a provider is"),
        ("timeout-ms", "9", "milliseconds, 10 to 3600000"),
        ("timeout-ms", "3600001", "milliseconds"),
        ("timeout-ms", "99999999999999999999", "milliseconds"),
        ("timeout-ms", "2.5", "milliseconds"),
        ("timeout-ms", "\u0661\u0661\u0661", "milliseconds"),
        ("kind", "poems", "one of chat, code, overall"),
        ("kind", AUTO, "one of chat, code, overall"),
        ("delivery", "later", "one of stream, whole"),
    ],
)
def test_an_unknown_value_is_refused_with_what_the_header_takes(name, value, takes):
    with pytest.raises(GatewayError) as caught:
        read_terms({name: value}, WORDS)

    error = caught.value
    assert (error.status, error.code, error.param) == (400, "invalid_term", f"x-gateway-{name}")
    assert error.told.startswith(f"'x-gateway-{name}' is {value!r}; it takes {takes}")


LOOSER = {
    "policy": Terms(policy="fastest"),
    "quality-floor": Terms(floor=69.9),
    "max-cost-usd": Terms(max_cost_nano=nano_from_usd("0.050000001")),
    "jurisdictions": Terms(jurisdictions=("CN", "US")),
    "timeout-ms": Terms(timeout_ms=30_001),
    "kind": Terms(kind="chat"),
}


def test_of_several_countries_the_unknown_one_is_named():
    for value, named in (("US,DE", "DE"), ("US,,CN", "")):
        with pytest.raises(GatewayError, match=f"'x-gateway-jurisdictions' is '{named}'; it takes countries"):
            read_terms({"jurisdictions": value}, WORDS)


@pytest.mark.parametrize(("name", "terms"), LOOSER.items(), ids=LOOSER)
def test_a_key_that_may_not_loosen_is_refused_what_loosens(name, terms):
    with pytest.raises(GatewayError) as caught:
        under(STRICT, terms, WORDS, may_loosen=False)

    error = caught.value
    assert (error.status, error.code, error.param) == (403, "term_loosened", f"x-gateway-{name}")
    assert "'auto'" in error.told


@pytest.mark.parametrize("terms", LOOSER.values(), ids=LOOSER)
def test_a_key_that_may_loosen_gets_what_it_asks_for(terms):
    route = under(STRICT, terms, WORDS, may_loosen=True)

    assert route != STRICT
    assert (route.name, route.candidates) == (STRICT.name, STRICT.candidates)


STRICTER = {
    "the same policy": (Terms(policy="cheapest"), {}),
    "a higher floor": (Terms(floor=80.0), {"floors": {"code": 80.0, "overall": 80.0}}),
    "the same floor": (Terms(floor=70.0), {"floors": {"code": 70.0, "overall": 70.0}}),
    "a lower cap": (Terms(max_cost_nano=nano_from_usd("0.01")), {"max_cost_nano": nano_from_usd("0.01")}),
    "the same places": (Terms(jurisdictions=("US",)), {"jurisdictions": frozenset({"US"})}),
    "less time": (Terms(timeout_ms=2_500), {"timeouts": Timeouts(total=2.5)}),
    "the same kind": (Terms(kind="code"), {}),
    "another kind with a floor of its own as high": (
        Terms(kind="chat", floor=70.0), {"kind": "chat", "floors": {"chat": 70.0, "overall": 70.0}},
    ),
    "whole delivery": (Terms(delivery=Delivery.WHOLE), {"delivery": Delivery.WHOLE}),
}  # fmt: skip


@pytest.mark.parametrize(("terms", "changed"), STRICTER.values(), ids=STRICTER)
def test_every_key_may_make_terms_stricter(terms, changed):
    assert under(STRICT, terms, WORDS, may_loosen=False) == replace(STRICT, **changed)


@pytest.mark.parametrize(
    "terms",
    [
        Terms(floor=1.0), Terms(max_cost_nano=nano_from_usd("100")), Terms(jurisdictions=("CN",)),
        Terms(timeout_ms=1_000), Terms(kind="code"),
    ],
)  # fmt: skip
def test_where_a_route_says_nothing_any_term_is_stricter(terms):
    assert under(FREE, terms, WORDS, may_loosen=False) != FREE


def test_where_each_request_is_judged_by_its_own_kind_the_caller_may_say_which_it_is():
    route = replace(STRICT, kind=AUTO, floors={"code": 80.0, "chat": 50.0})
    said = under(route, Terms(kind="chat"), WORDS, may_loosen=False)

    assert (said.kind, said.floor_for(said.kind)) == ("chat", 50.0)


def test_a_floor_of_the_request_holds_for_whatever_kind_it_is_of():
    route = under(replace(STRICT, kind=AUTO), Terms(floor=75.0), WORDS, may_loosen=False)

    assert (route.floor_for("code"), route.floor_for("chat")) == (75.0, 75.0)


def test_terms_that_say_nothing_leave_the_route_as_it_is():
    assert under(STRICT, AS_THE_ROUTE, WORDS, may_loosen=False) is STRICT
