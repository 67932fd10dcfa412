"""YAML with places: what scalars become, and that no file ends anything but the reading of it."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from gateway.config.yaml_places import Place, read_yaml


def value_of(text):
    document, mistakes = read_yaml("f.yaml", f"a: {text}".encode())
    assert mistakes == []
    return document.data["a"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.10", Decimal("1.10")),
        ("1e3", Decimal("1e3")),
        ("12", 12),
        ("'12'", "12"),
        ("!!str 12", "12"),
        ("true", True),
        ("NO", "NO"),
        ("off", "off"),
        ("09:30", "09:30"),
        ("0x1f", "0x1f"),
        ("1_000", "1_000"),
        (".inf", ".inf"),
        ("~", None),
        ("", None),
        ("2026-12-01", date(2026, 12, 1)),
        ("2026-02-30", "2026-02-30"),
        ("2026-12-01T00:00:00Z", datetime(2026, 12, 1, tzinfo=UTC)),
        ("2026-12-01 00:00:00.5", datetime.fromisoformat("2026-12-01T00:00:00.5")),
        ("2026-12-01T08:00+08:00", datetime(2026, 12, 1, 8, tzinfo=timezone(timedelta(hours=8)))),
    ],
)
def test_a_scalar_means_what_yaml_1_2_says(text, value):
    found = value_of(text)

    assert found == value
    assert type(found) is type(value)


def test_every_path_has_the_place_of_its_key_and_of_its_value():
    document, _ = read_yaml("f.yaml", b"a:\n  b: [x, yy, {c: 1}]\n'd':\n  - e\n")

    assert document.keys[("a", "b")] == Place(2, 3)
    assert document.values[("a", "b")] == Place(2, 6)
    assert document.values[("a", "b", 1)] == Place(2, 10)
    assert document.keys[("a", "b", 2, "c")] == Place(2, 15)
    assert document.values[("d", 0)] == Place(4, 5)


def test_an_alias_stands_for_the_whole_of_its_anchor():
    document, mistakes = read_yaml("f.yaml", b"a: &x {b: [1, 2]}\nc: *x\n")

    assert mistakes == []
    assert document.data == {"a": {"b": [1, 2]}, "c": {"b": [1, 2]}}
    assert document.values[("c", "b", 1)] == document.values[("a", "b", 1)]


BOMB = b"a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + b"".join(
    b"%c: &%c [%s]\n" % (name, name, b", ".join([b"*%c" % (name - 1)] * 10)) for name in b"bcdefghi"
)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (
            b"a: 1\nb: [1, 2\nc: 3",
            "f.yaml:3:2: not YAML: while parsing a flow sequence, did not find expected ',' or ']'",
        ),
        (
            b"a:\n\t- b",
            "f.yaml:2:1: not YAML: while scanning for the next token, found character that cannot start any token",
        ),
        (b"a: 1\nb: \x07", "f.yaml:2:4: not YAML: control characters are not allowed"),
        (b"a: 1\nb: \xff", "f.yaml:2:4: not UTF-8 text"),
        (b"a: 1\n---\nb: 2\n", "f.yaml:2:1: a second document begins here; a file holds one"),
        (b"a: 1\nb: *x", "f.yaml:2:4: no anchor &x stands before this *x"),
        (b"a: &a [*a]", "f.yaml:1:8: *a stands inside &a, so it would contain itself"),
        (b"? [a]\n: 1", "f.yaml:1:3: a key must be a single word or text"),
        (b"[" * 100_000, "f.yaml:1:65: nested more than 64 levels deep"),
        (b"- " * 100_000 + b"a", "f.yaml:1:129: nested more than 64 levels deep"),
        (BOMB, "f.yaml:1:5: more than 200000 values, or too deep, once aliases are filled in"),
    ],
    ids=[
        "flow",
        "tab",
        "bell",
        "latin-1",
        "two documents",
        "no anchor",
        "cycle",
        "list key",
        "brackets",
        "dashes",
        "bomb",
    ],
)
def test_what_is_not_yaml_is_one_mistake_with_its_place(raw, said):
    document, mistakes = read_yaml("f.yaml", raw)

    found = [str(one) for one in mistakes]
    if raw is BOMB:
        found, said = [found[0].partition(": ")[2]], said.partition(": ")[2]
    assert document is None
    assert found == [said]


def test_duplicate_keys_and_foreign_tags_are_mistakes_and_the_rest_is_read():
    document, mistakes = read_yaml("f.yaml", b"a: 1\nb: !!python/name:os.system x\na: 2\n")

    assert document.data == {"a": 1, "b": "x"}
    assert [str(one) for one in mistakes] == [
        "f.yaml:2:4: the tag '!!python/name:os.system' means nothing here; delete it",
        "f.yaml:3:1: the key 'a' stands twice; the first is on line 1",
    ]
