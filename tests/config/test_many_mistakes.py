"""All mistakes at once, and nothing else than mistakes from whatever a file may hold."""

import random

import pytest
from conffiles import BOOK, FULL, KEYS, MINIMAL, NOW, mistakes, shipped_with_examples

from gateway.config import PRICEBOOK, ConfigError, load, render_mistakes

MANY = """\
server:
  max_body_mib: ten
defaults:
  baseline: bigg
  juristictions: [US]
routes:
  auto:
    polcy: cheapest
    candidates: [big, flush, 4.1, smal]
    quality_floor: 120
  cheap:
    policy: split
    candidates: [small, big]
    weights: {small: -1, medium: 2}
  large:
    policy: quick
    candidates: []
teams:
  research:
    keys: [{id: a, env: NOT_SET}, {id: a, sha256: abc}]
    routes: [auto, chaep]
prices:
  - {id: p, model: openai/tiny, effective_from: 2026-01-01, status: announced, source: x, read: 2026-01-01}
"""


def test_all_mistakes_are_reported_at_once(tmp_path):
    found = [(one.line, one.column, one.message) for one in mistakes(tmp_path, MANY)]

    assert found == [
        (2, 17, "'max_body_mib' in 'server' is 'ten', not a whole number"),
        (4, 13, "unknown model 'bigg'; did you mean 'big'?"),
        (5, 3, "unknown key 'juristictions' in 'defaults'; did you mean 'jurisdictions'?"),
        (8, 5, "unknown key 'polcy' in route 'auto'; did you mean 'policy'?"),
        (9, 23, "unknown model 'flush'; did you mean 'flash'?"),
        (9, 30, "entry 3 of 'candidates' in route 'auto' is 4.1, not text; write it in quotes"),
        (9, 35, "unknown model 'smal'; did you mean 'small'?"),
        (10, 20, "'quality_floor' in route 'auto' is 120; it must be 100 or less"),
        (14, 22, "'small' in 'weights' of route 'cheap' is -1; it must be 0 or more"),
        (14, 26, "unknown model 'medium'"),
        (15, 3, "route 'large' is named like a model (openai/big); choose another name"),
        (16, 13, "unknown policy 'quick'; there are 'cheapest', 'best', 'value', 'fastest', 'split' and 'ordered'"),
        (17, 17, "route 'large' has no candidates; name at least one model"),
        (20, 25, "the environment variable NOT_SET of key 'a' is not set"),
        (20, 40, "key id 'a' stands twice: team 'research' has it already"),
        (20, 51, "'sha256' in 'keys' of team 'research' is not a SHA-256: 64 hex digits, lower case"),
        (21, 20, "unknown route 'chaep'; did you mean 'cheap'?"),
        (23, 5, "price row 1 has no 'rates'"),
        (23, 49, "'effective_from' in price row 1 is 2026-01-01, not an instant such as 2026-12-01T00:00:00Z"),
    ]


def test_a_mistake_is_not_reported_for_what_follows_from_another(tmp_path):
    # the broken route and the broken model are still known by name; the emptied list is not called empty
    text = (
        "routes:\n  auto: {policy: best, candidates: [5]}\n  odd: 7\n"
        "models:\n  openai/new: {context_tokens: many, max_output_tokens: 1, capabilities: []}\n"
        "teams:\n  t: {keys: [{id: a, env: A}], routes: [odd]}\n"
        "defaults: {baseline: openai/new}\n"
    )

    found = [one.line for one in mistakes(tmp_path, text, {"A": "a" * 32})]

    assert found == [2, 3, 5]


def test_mistakes_are_rendered_one_a_line(tmp_path):
    path = tmp_path / "routes.yaml"
    path.write_text("routes:\n  auto:\n    polcy: best\n    candidates: [big]\n    kinds: code\n")

    with pytest.raises(ConfigError) as caught:
        load(path, {}, now=NOW, pricebook=BOOK)

    assert render_mistakes(caught.value.mistakes).splitlines() == [
        f"{path}:3:5: unknown key 'polcy' in route 'auto'; did you mean 'policy'?",
        f"{path}:5:5: unknown key 'kinds' in route 'auto'; did you mean 'kind'?",
    ]
    assert str(caught.value) == render_mistakes(caught.value.mistakes)


def test_a_missing_file_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ConfigError) as caught:
        load(None, {}, now=NOW)

    said = str(caught.value)
    assert said.startswith("routes.yaml: no such file; name another, or begin with the shipped one: cp /")
    assert said.endswith(" routes.yaml")


def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path, {}, now=NOW)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1:1: the file is empty"),
        ("# nothing\n", "1:1: the file is empty"),
        ("- a\n", "1:1: the file is not a mapping of keys to values"),
        ("teams: {}\n", "1:1: the file has no 'routes'"),
    ],
)
def test_a_file_without_routes(tmp_path, text, said):
    found = [f"{one.line}:{one.column}: {one.message}" for one in mistakes(tmp_path, text)]

    assert found == [said]


def test_a_broken_price_book_is_reported_with_its_own_name(tmp_path):
    book = tmp_path / "book"
    book.mkdir()
    (book / "openai.yaml").write_text("provider: {name: openai}\nmodells: {}\n")
    routes = tmp_path / "routes.yaml"
    routes.write_text(MINIMAL)

    with pytest.raises(ConfigError) as caught:
        load(routes, {}, now=NOW, pricebook=book)

    said = [str(one) for one in caught.value.mistakes if one.file.startswith("gateway")]
    assert said == [
        "gateway/pricebook/openai.yaml:1:1: provider 'openai' is new here, so it needs 'jurisdiction', 'key_env', "
        "'dialect' and 'base_url'",
        "gateway/pricebook/openai.yaml:2:1: unknown key 'modells' in the file; did you mean 'models'?",
    ]


SCRAPS = [
    "",
    "null",
    "-1",
    "0",
    "1e400",
    "[]",
    "{}",
    "[[]]",
    "{a: {b: c}}",
    "'",
    "x" * 300,
    "2026-13-45",
    "true",
    "&a",
    "*a",
]
SCRAPS += [
    "!!binary x",
    "<<: *a",
    "openai/big",
    "../../etc/passwd",
    "\u2028",
    "\t",
    "99999999999999999999",
    "2026-01-01",
]
SCRAPS += [
    "'[key]'",
    "? [a]",
    "- ",
    "#",
    "{",
    "}",
    "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00+14:00",
    "%",
    "@",
    "`",
    "|",
    ">",
]


def mutant(text, dice):
    """The text with one to four small accidents of the kind that editing brings."""
    lines = text.splitlines()
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(lines))
        line = lines[at]
        match dice.randrange(7):
            case 0:
                lines.insert(at, line)
            case 1:
                lines[at] = line[: line.rfind(":") + 1] + " " + dice.choice(SCRAPS)
            case 2:
                lines[at] = "  " * dice.randint(0, 3) + line.strip()
            case 3:
                lines.insert(at, dice.choice(lines))
            case 4 if line:
                cut = dice.randrange(len(line))
                lines[at] = line[:cut] + dice.choice(SCRAPS) + line[cut + dice.randint(0, 2) :]
            case 5:
                other = dice.randrange(len(lines))
                lines[at], lines[other] = lines[other], line
            case _ if len(lines) > 1:
                del lines[at]
    return "\n".join(lines)


def mistakes_of(path, book):
    try:
        load(path, KEYS, now=NOW, pricebook=book)
    except ConfigError as error:
        return error.mistakes
    return ()


@pytest.mark.parametrize(
    ("base", "book", "count"), [(FULL, BOOK, 300), (shipped_with_examples(), PRICEBOOK, 60)], ids=["full", "shipped"]
)
def test_no_file_brings_anything_but_mistakes_with_a_line(tmp_path, base, book, count):
    dice = random.Random(20261123)
    path = tmp_path / "routes.yaml"
    broken = 0
    for _ in range(count):
        text = mutant(base, dice)
        path.write_text(text)

        found = mistakes_of(path, book)

        last = len(text.splitlines()) + 1
        broken += bool(found)
        assert all(1 <= one.line <= last and one.column >= 1 and one.message for one in found), text
    assert broken > count / 2
