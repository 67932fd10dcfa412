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

import re
from collections.abc import Sequence
from typing import NamedTuple

from . import nearwords as words

MOST_CHARS = 2_000
"""Of a question, beyond which it is not compared: a longer one is a document, and takes long to read."""
_LEAST_KNOWN = 0.2
_LONGEST_MOVE = 6

_QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u00a0": " ", "\u2212": "-"})
_TOKEN = re.compile(
    r"""
    (?P<code> ```[\s\S]*?``` | `[^`\n]*` | https?://[^\s,;!?]+ | www\.[^\s,;!?]+
      | (?<![\w-])--?[A-Za-z][\w-]* | [A-Za-z]:\\[^\s]+ | (?:[~.]{0,2}/[\w.@+~-]{0,80}\w)+/?
      | [\w.-]{0,80}\w(?:/[\w.-]{0,80}\w)+
      | [A-Za-z_$][\w$]*(?:(?:\.|::|->)[A-Za-z_$][\w$]*)+(?:\(\))? | [A-Za-z_]\w*\(\) | (?<!\w)\.[A-Za-z]\w*
      | [A-Za-z](?:\+\+|\#)(?!\w) )
  | (?P<mail> [\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64})+ | [\#@][\w-]+ )
  | (?P<quoted> "[^"\n]*" | «[^»\n]*» | (?<!\w)'[^'\n]+'(?!\w) )
  | (?P<number> (?:(?<![\w.)])[-+])?\d\w*(?:[.,:/-]\d\w*)* )
  | (?P<word> [^\W\d][\w$]*(?:'\w+)* )
  | (?P<end> [.?!]{1,8}(?=\s|$) | \n+ )
  | (?P<mute> \s+ | [,;.:?!"'¿¡…–—] | (?<=\w)-(?=\w) )
  | (?P<sign> . )
    """,
    re.VERBOSE,
)
_HUMP = re.compile(r"[a-z][A-Z]|[_$\d]|[A-Z]{2}[a-z]")
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?![\d,])")
_GREETING = re.compile(
    r"(?:(?:hi|hello|hey|good (?:morning|afternoon|evening)|dear all|ok|okay|so|well|actually|thanks|please"
    r"|sorry to bother you|(?:i have )?(?:just )?(?:a|one)?\s?(?:quick )?question|i need your help)"
    r"(?: there| all| everyone)?\s*[,!.:–—-]+\s+"
    r"|(?:hi|hello|hey)(?: there)?\s+(?=(?:how|what|who|where|when|why|which|is|are|do|does|can|could|please|i)\b))+",
    re.IGNORECASE,
)
_THANKS = re.compile(
    r"(?<=[\w\"`)%])(?P<end>[?.!]*)[,.!?;\s–—-]*[,.!?;–—-]\s*"
    r"(?:please|many thanks|cheers|(?:thanks|thank you)(?: very much| so much| a lot| in advance)?)[\s.!?]*$",
    re.IGNORECASE,
)
_EDGES = " \t\n.?!¿¡"

Words = list[str]


class _Token(NamedTuple):
    """A piece of a text as it is compared. bends: a word that may stand in another number or form."""

    kind: str
    text: str
    bends: bool = False


def differs(asked: str, kept: str) -> str:
    """"" when nothing speaks against both meaning the same; else what does, in one word.

    code, numbers, names, quotes, negation, quantity, person, modality, time, opposites, question, words, order,
    language (not English and not the same letters), length.
    """
    if len(asked) > MOST_CHARS or len(kept) > MOST_CHARS:
        return "length"
    asked, kept = asked.translate(_QUOTES).strip(), kept.translate(_QUOTES).strip()
    if asked == kept:
        return ""
    asked, kept = _plain(asked), _plain(kept)
    one, other = _split(asked), _split(kept)
    if not (_english(one) and _english(other)):
        return "" if _letters(asked) == _letters(kept) else "language"
    mine, theirs = _meaning(one, asked), _meaning(other, kept)
    bends = _bends(mine) and _bends(theirs)
    if _equal(mine, theirs, bends) or _moved(mine, theirs, bends) or _moved(theirs, mine, bends):
        return ""
    return _why(mine, theirs)


# Reading -----------------------------------------------------------------------------------------------------------


def _plain(text: str) -> str:
    """Without a greeting before it and thanks behind it, where a sign sets them apart."""
    text = _GREETING.sub("", text, count=1) if _GREETING.match(text) else text
    return _THANKS.sub(r"\g<end>", text, count=1).strip()


def _split(text: str) -> list[_Token]:
    shouted = text.isupper()
    found: list[_Token] = []
    begins = True
    for match in _TOKEN.finditer(text):
        kind, piece = match.lastgroup or "", match.group()
        if kind == "mute":
            if piece == "," and found and found[-1].text in words.ALONE:  # "no, do it"
                found.append(_Token("line", ","))
            continue
        if kind == "end":
            begins = True
            found.append(_Token("line", "\n" if "\n" in piece else "?" if "?" in piece else "."))
            continue
        if kind == "word" and found and found[-1].kind == "number" and piece != piece.lower():
            found.append(_Token("name", piece))  # mg and Mg, Mb and MB
        elif kind == "word":
            found += _words(piece, begins=begins, shouted=shouted)
        elif kind == "number" and _THOUSANDS.fullmatch(piece):
            found.append(_Token("number", piece.replace(",", "")))
        else:
            found.append(_Token("name" if kind == "mail" else kind, piece))
        begins = False
    return found


def _words(piece: str, *, begins: bool, shouted: bool) -> list[_Token]:
    low = piece.lower()
    if _HUMP.search(piece) and not shouted:
        return [_Token("word", low)] if low in words.BRANDS else [_Token("code", piece)]
    if piece != low and not shouted:
        capitals = piece.isupper() and len(piece) > 1
        if low in words.CASED and (capitals or not (begins or low in words.KNOWN)):
            return [_Token("name", piece)]
        if (capitals and low in words.KNOWN) or (low in words.ARTICLES and not begins):
            return [_Token("name", piece)]  # for emphasis, short for something, or vitamin A
    bends = piece == low
    plain = bends or begins
    return [_Token("word", words.SYNONYMS.get(one, one) if plain else one, bends) for one in _spelled(low)]


def _spelled(low: str) -> Sequence[str]:
    if "'" not in low:
        return words.CONTRACTIONS.get(low) or (low,)
    if low in words.CONTRACTIONS:
        return words.CONTRACTIONS[low]
    if low.endswith("n't"):
        return low[:-3], "not"
    base, _, ending = low.rpartition("'")
    if ending == "s":
        return base, "is" if base in words.IS_AFTER else "'s"
    meant = words.ENDINGS.get(f"'{ending}")
    return (low,) if meant is None else (base, meant)


def _english(tokens: Sequence[_Token]) -> bool:
    found = [token.text for token in tokens if token.kind == "word"]
    known = sum(text in words.KNOWN or text in words.VERBS for text in found)
    foreign = sum(text in words.FOREIGN or not text.isascii() for text in found)
    return known > foreign and known >= _LEAST_KNOWN * len(found)


def _letters(text: str) -> str:
    """As it is but for white space, the signs at its ends and the first letter's case."""
    text = " ".join(text.strip(_EDGES).split())
    return text[:1].lower() + text[1:]


# What is meant -----------------------------------------------------------------------------------------------------


def _meaning(tokens: list[_Token], text: str) -> list[_Token]:
    """The tokens that say something, each in the one form it is compared in."""
    told = _stripped(_trimmed(tokens))
    led = len(told) < len(tokens) and bool(told) and told[0] is not tokens[0]
    tokens = _owners(_phrased(told))
    tokens = _without_articles(tokens)
    tokens = _how_to(tokens)
    tokens = [_one_form(token) for token in _without_copula(tokens)]
    # "The server is down?" asks, and "could you restart it?" does not.
    if text.endswith("?") and not led and not _asks([token.text for token in tokens]):
        tokens.insert(0, _Token("question", "?"))
    return tokens


def _asks(texts: Sequence[str]) -> bool:
    """By its words alone: it has a question word, begins with `is`, or has `can I` in it."""
    if any(text in words.QUESTIONS or text.startswith("how_") for text in texts):
        return True
    led = [place for place, text in enumerate(texts) if text in words.AUXILIARIES]
    return any(place == 0 or (texts[place + 1 : place + 2] and texts[place + 1] in words.PERSONS) for place in led)


def _trimmed(tokens: list[_Token]) -> list[_Token]:
    first, last = 0, len(tokens)
    while first < last and tokens[first].kind == "line":
        first += 1
    while last > first and tokens[last - 1].kind == "line":
        last -= 1
    return tokens[first:last]


def _stripped(tokens: list[_Token]) -> list[_Token]:
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
    asked = texts[:1] == ["can"] or texts[:1] == ["will"] or texts[0] in words.POLITE if texts else False
    if not asked or texts[1:2] != ["you"] or len(texts) < 4:
        return 0
    if texts[2] in ("please", "kindly"):
        return 3
    wanted = texts[2] in words.REQUESTS or (texts[0] in words.POLITE and texts[2] in words.MORE_REQUESTS)
    return 2 if wanted else 0


def _at(texts: Sequence[str], place: int, phrase: Sequence[str]) -> bool:
    return place >= 0 and tuple(texts[place : place + len(phrase)]) == tuple(phrase)


def _phrased(tokens: list[_Token]) -> list[_Token]:
    found: list[_Token] = []
    place = 0
    while place < len(tokens):
        for length in (5, 4, 3, 2):
            part = tokens[place : place + length]
            meant = words.PHRASES.get(tuple(token.text for token in part)) if len(part) == length else None
            if meant is not None:
                found += [_Token("word", text) for text in meant]
                place += length
                break
        else:
            found.append(tokens[place])
            place += 1
    return found


def _owners(tokens: list[_Token]) -> list[_Token]:
    """`France's capital` as `capital of France`; what is owned is one word, or two where no preposition follows."""
    found = list(tokens)
    for place in range(len(found) - 2, 0, -1):
        if found[place].text == "'s":
            owned = 1 if place + 2 >= len(found) or found[place + 2].text in words.KNOWN else 2
            owner, things = found[place - 1], found[place + 1 : place + 1 + owned]
            found[place - 1 : place + 1 + owned] = [*things, _Token("word", "of"), owner]
    return found


def _without_articles(tokens: list[_Token]) -> list[_Token]:
    """An article stands before something; `hepatitis a` ends in none."""
    after = [*tokens[1:], _Token("line", ".")]
    return [
        token for token, following in zip(tokens, after, strict=True)
        if token.kind != "word" or token.text not in words.ARTICLES
        or following.kind == "line" or following.text in words.KNOWN
    ]  # fmt: skip


def _how_to(tokens: list[_Token]) -> list[_Token]:
    texts = [token.text for token in tokens]
    for phrase in words.HOW_TO:
        for place in range(len(texts) - len(phrase) + 1):
            if _at(texts, place, phrase):
                after = place + len(phrase)
                if _at(texts, after, words.GO_ABOUT):
                    after += len(words.GO_ABOUT)
                return [*tokens[:place], _Token("word", "how_to"), *tokens[after:]]
    return tokens


def _without_copula(tokens: list[_Token]) -> list[_Token]:
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


def _one_form(token: _Token) -> _Token:
    if token.kind != "word":
        return token
    number = words.NUMBERS.get(token.text)
    if number is not None:
        return _Token("sign" if number == "%" else "number", number)
    return token


# Comparing ---------------------------------------------------------------------------------------------------------


def _bends(tokens: Sequence[_Token]) -> bool:
    """One or several makes no difference to how and why."""
    texts = [token.text for token in tokens]
    if any(text in words.SINGLED or text.endswith("est") for text in texts):
        return False
    asks = next((text for text in texts if text in words.QUESTIONS or text.startswith("how_")), "")
    return asks in ("how_to", "how", "why", "how_long")


def _equal(one: Sequence[_Token], other: Sequence[_Token], bends: bool) -> bool:
    return len(one) == len(other) and all(_same(a, b, bends) for a, b in zip(one, other, strict=True))


def _same(a: _Token, b: _Token, bends: bool) -> bool:
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


def _moved(one: Sequence[_Token], other: Sequence[_Token], bends: bool) -> bool:
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


def _why(mine: Sequence[_Token], theirs: Sequence[_Token]) -> str:
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
