"""Whether two questions that lie close to one another mean the same, or only look so. Pure.

Vectors say that "turn on the light" and "turn off the light" are neighbours. What is asked here is the reverse of a
similarity: everything that stands in one text and not in the other speaks against them, unless it is known to say
nothing (politeness, articles) or the same (contractions, spelling, a short list of synonyms and turns of phrase). The
order counts too; only what begins with a preposition may move from the front of a sentence to its end. Whether one or
several are meant is told apart but for how and why, whose answers do not depend on it. What is not English is compared
letter by letter.

So what the rules do not know costs a miss and never an answer to another question.
"""

from __future__ import annotations

from collections.abc import Sequence

from . import nearwords as words
from .neartext import QUOTES, Piece, is_english, letters, plain, split

MOST_CHARS = 2_000
"""Of a question, beyond which it is not compared: a longer one is a document, and takes long to read."""
_LONGEST_MOVE = 6


def differs(asked: str, kept: str) -> str:
    """"" when nothing speaks against both meaning the same; else what does, in one word.

    code, numbers, names, quotes, negation, quantity, person, modality, time, opposites, question, words, order,
    language (not English and not the same letters), length.
    """
    if len(asked) > MOST_CHARS or len(kept) > MOST_CHARS:
        return "length"
    asked, kept = asked.translate(QUOTES).strip(), kept.translate(QUOTES).strip()
    if asked == kept:
        return ""
    asked, kept = plain(asked), plain(kept)
    one, other = split(asked), split(kept)
    if not (is_english(one) and is_english(other)):
        return "" if letters(asked) == letters(kept) else "language"
    mine, theirs = _meaning(one, asked), _meaning(other, kept)
    bends = _bends(mine) and _bends(theirs)
    if _equal(mine, theirs, bends) or _moved(mine, theirs, bends) or _moved(theirs, mine, bends):
        return ""
    return _why(mine, theirs)


# What is meant -----------------------------------------------------------------------------------------------------


def _meaning(tokens: list[Piece], text: str) -> list[Piece]:
    """The tokens that say something, each in the one form it is compared in."""
    told = _stripped(_trimmed(tokens))
    led = len(told) < len(tokens) and bool(told) and told[0] is not tokens[0]
    tokens = _owners(_phrased(told))
    tokens = _without_articles(tokens)
    tokens = _how_to(tokens)
    tokens = [_one_form(token) for token in _without_copula(tokens)]
    # "The server is down?" asks, and "could you restart it?" does not.
    if text.endswith("?") and not led and not _asks([token.text for token in tokens]):
        tokens.insert(0, Piece("question", "?"))
    return tokens


def _asks(texts: Sequence[str]) -> bool:
    """By its words alone: it has a question word, begins with `is`, or has `can I` in it."""
    if any(text in words.QUESTIONS or text.startswith("how_") for text in texts):
        return True
    led = [place for place, text in enumerate(texts) if text in words.AUXILIARIES]
    return any(place == 0 or (texts[place + 1 : place + 2] and texts[place + 1] in words.PERSONS) for place in led)


def _trimmed(tokens: list[Piece]) -> list[Piece]:
    first, last = 0, len(tokens)
    while first < last and tokens[first].kind == "line":
        first += 1
    while last > first and tokens[last - 1].kind == "line":
        last -= 1
    return tokens[first:last]


def _stripped(tokens: list[Piece]) -> list[Piece]:
    """Without what only leads up to a question or makes a wish polite."""
    while True:
        texts = [token.text if token.kind == "word" else "" for token in tokens]
        lead = next((len(one) for one in words.LEADS if _at(texts, 0, one)), 0)
        if not lead or texts[lead : lead + 1] == [] or texts[lead] not in words.QUESTIONS:
            lead = next((len(one) for one in words.WISHES if _at(texts, 0, one)), 0) or _request(texts)
        if not lead or lead >= len(tokens):
            return tokens
        tokens = tokens[lead:]


def _request(texts: Sequence[str]) -> int:
    """How many words `could you please` takes before what is wanted; 0 when it is no request."""
    if len(texts) < 4 or texts[0] not in words.ASKED or texts[1] != "you":
        return 0
    if texts[2] in ("please", "kindly"):
        return 3
    wanted = texts[2] in words.REQUESTS or (texts[0] in words.POLITE and texts[2] in words.MORE_REQUESTS)
    return 2 if wanted else 0


def _at(texts: Sequence[str], place: int, phrase: Sequence[str]) -> bool:
    return place >= 0 and tuple(texts[place : place + len(phrase)]) == tuple(phrase)


def _phrased(tokens: list[Piece]) -> list[Piece]:
    found: list[Piece] = []
    place = 0
    while place < len(tokens):
        for length in (5, 4, 3, 2):
            part = tokens[place : place + length]
            meant = words.PHRASES.get(tuple(token.text for token in part)) if len(part) == length else None
            if meant is not None:
                found += [Piece("word", text) for text in meant]
                place += length
                break
        else:
            found.append(tokens[place])
            place += 1
    return found


def _owners(tokens: list[Piece]) -> list[Piece]:
    """`France's capital` as `capital of France`; what is owned is one word, or two where no preposition follows."""
    found = list(tokens)
    for place in range(len(found) - 2, 0, -1):
        if found[place].text == "'s":
            owned = 1 if place + 2 >= len(found) or found[place + 2].text in words.KNOWN else 2
            owner, things = found[place - 1], found[place + 1 : place + 1 + owned]
            found[place - 1 : place + 1 + owned] = [*things, Piece("word", "of"), owner]
    return found


def _without_articles(tokens: list[Piece]) -> list[Piece]:
    """An article stands before something; `hepatitis a` ends in none, and the a of `f(a)` is none."""
    after = [*tokens[1:], Piece("line", ".")]
    return [
        token for token, following in zip(tokens, after, strict=True)
        if token.kind != "word" or token.text not in words.ARTICLES
        or following.kind in ("line", "sign") or following.text in words.KNOWN
    ]  # fmt: skip


def _how_to(tokens: list[Piece]) -> list[Piece]:
    texts = [token.text for token in tokens]
    for phrase in words.HOW_TO:
        for place in range(len(texts) - len(phrase) + 1):
            if _at(texts, place, phrase):
                after = place + len(phrase)
                if _at(texts, after, words.GO_ABOUT):
                    after += len(words.GO_ABOUT)
                return [*tokens[:place], Piece("word", "how_to"), *tokens[after:]]
    return tokens


def _without_copula(tokens: list[Piece]) -> list[Piece]:
    """`what is it` as `what it is`, and `how does it` as `how it`: asked outright or within another sentence."""
    texts = [token.text for token in tokens]
    asks = next((place for place, text in enumerate(texts) if text in words.QUESTIONS or text.startswith("how_")), None)
    if asks is None:
        return tokens
    after = texts[asks + 1 : asks + 2]
    if texts[asks] in words.LED_BY_DO or texts[asks].startswith("how_"):
        return tokens[: asks + 1] + tokens[asks + 2 :] if after in (["do"], ["does"]) else tokens
    if texts[asks] in words.LED_BY_COPULA:
        if after and after[0] in words.COPULAS:
            return tokens[: asks + 1] + tokens[asks + 2 :]
        if len(texts) > asks + 2 and texts[-1] in words.COPULAS:
            return tokens[:-1]
    return tokens


def _one_form(token: Piece) -> Piece:
    if token.kind != "word":
        return token
    number = words.NUMBERS.get(token.text)
    if number is not None:
        return Piece("sign" if number == "%" else "number", number)
    return token


# Comparing ---------------------------------------------------------------------------------------------------------


def _bends(tokens: Sequence[Piece]) -> bool:
    """One or several makes no difference to how and why."""
    texts = [token.text for token in tokens]
    if any(text in words.SINGLED or text.endswith("est") for text in texts):
        return False
    asks = next((text for text in texts if text in words.QUESTIONS or text.startswith("how_")), "")
    return asks in ("how_to", "how", "why", "how_long")


def _equal(one: Sequence[Piece], other: Sequence[Piece], bends: bool) -> bool:
    return len(one) == len(other) and all(_same(a, b, bends) for a, b in zip(one, other, strict=True))


def _same(a: Piece, b: Piece, bends: bool) -> bool:
    if a.text == b.text and a.kind == b.kind:
        return True
    return bends and a.bends and b.bends and not _bases(a.text).isdisjoint(_bases(b.text))


def _bases(word: str) -> set[str]:
    """What a word may be another form of, by simple rules."""
    found = {word}
    if len(word) > 3 and word not in words.NO_PLURAL and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        if word.endswith("ies"):
            found.add(word[:-3] + "y")
        elif word.endswith(("ses", "xes", "zes", "ches", "shes")):
            found |= {word[:-2], word[:-1]}
        else:
            found.add(word[:-1])
    if len(word) > 5 and word.endswith("ing") and word not in words.NO_GERUND:
        stem = word[:-3]
        found |= {stem, stem + "e"}
        if stem[-1] == stem[-2]:
            found.add(stem[:-1])
    return found


def _moved(one: Sequence[Piece], other: Sequence[Piece], bends: bool) -> bool:
    """Whether what stands in front of the one stands behind in the other: `in Python, how ...`."""
    if len(one) != len(other) or not one or one[0].text not in words.FREE:
        return False
    for length in range(1, min(_LONGEST_MOVE, len(one) - 1) + 1):
        block, rest = one[:length], one[length:]
        if rest[-1].text in words.LINKS:  # what would follow it there would belong to it
            continue
        # Of two that begin alike, or one inside another, nobody can say what they belong to.
        if any(token.text in words.FREE for token in block[1:]) or any(token.text == block[0].text for token in rest):
            continue
        if _equal([*rest, *block], other, bends):
            return True
    return False


def _why(mine: Sequence[Piece], theirs: Sequence[Piece]) -> str:
    left = [token for token in theirs if token not in mine]
    apart = [token for token in mine if token not in theirs]
    both = [*apart, *left]
    if not both:
        return "order"
    kinds, texts = {token.kind for token in both}, {token.text for token in both}
    for kind, reason in (("code", "code"), ("number", "numbers"), ("quoted", "quotes"), ("name", "names"),
                         ("sign", "code"), ("line", "code")):  # fmt: skip
        if kind in kinds:
            return reason
    for known, reason in ((words.NEGATIONS, "negation"), (words.QUESTIONS, "question")):
        if texts & known or reason in kinds:
            return reason
    turned = any(words.OPPOSITES.get(a.text) == b.text or _negated(a.text, b.text) for a in apart for b in left)
    if turned:
        return "opposites"
    for known, reason in ((words.QUANTITIES, "quantity"), (words.PERSONS, "person"), (words.MODALS, "modality"),
                          (words.UNITS, "time")):  # fmt: skip
        if texts & known:
            return reason
    return "words"


def _negated(one: str, other: str) -> bool:
    longer, shorter = (one, other) if len(one) > len(other) else (other, one)
    return any(longer == prefix + shorter for prefix in words.TURNERS)
