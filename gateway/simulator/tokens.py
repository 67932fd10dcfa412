"""The simulator's own tokenizer: how it counts text, cuts it into pieces, and makes text of a wished length.

No real provider counts like this, and the gateway must not either: a gateway that guesses tokens instead of
reading `usage` shall be found out by the bill.

The rule: a token is up to six word characters, or one other visible character; blanks are free.
"""

import random
import re
from collections.abc import Sequence
from functools import lru_cache

_TOKEN = re.compile(r"\w{1,6}|[^\w\s]")
_PIECE = re.compile(r"\s*(?:\w{1,6}|[^\w\s])(?:\s+\Z)?")
_REMEMBERED_CHARS = 65_536  # longer texts are counted anew each time: the memory of counts stays under 16 MB

# Every word is one token, so a text of n words is n tokens. Some are not ASCII on purpose: a stream that is split at
# byte positions has to cut inside a UTF-8 sequence now and then.
_WORDS = (
    "the river ledger counts every token once and twice never again under north wind café naïve señor größe "
    "token route cheap answer price model cache stream ocean stone light paper 日本語 данные morgen façade "
    "today below above seven eleven winter summer copper silver number letter window garden bridge market ☂ ✓"
).split()
_ENDINGS = [""] * 22 + [".", ",", "?"]


def seeded(*parts: bytes) -> random.Random:
    return random.Random(b"".join(parts))  # noqa: S311 - answers have to repeat; nothing here is a secret


def count_tokens(text: str) -> int:
    return _remembered_count(text) if len(text) <= _REMEMBERED_CHARS else len(_TOKEN.findall(text))


@lru_cache(maxsize=256)
def _remembered_count(text: str) -> int:
    return len(_TOKEN.findall(text))


def pieces(text: str) -> tuple[str, ...]:
    """The text cut into pieces of one token each (blanks stay with the token after them); joined they are the text."""
    return tuple(_PIECE.findall(text))


def make_text(tokens: int, dice: random.Random) -> str:
    """A text of exactly `tokens` tokens."""
    words: list[str] = []
    left = tokens
    for word, ending in zip(dice.choices(_WORDS, k=tokens), dice.choices(_ENDINGS, k=tokens), strict=True):
        if left <= 0:
            break
        words.append(word + ending if left > 1 else word)
        left -= 1 + bool(ending)
    return " ".join(words)


def cut_at_stop(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """The text before the earliest stop sequence, and whether one was met. The stop itself is never given out."""
    places = [place for stop in stops if stop and (place := text.find(stop)) >= 0]
    if not places:
        return text, False
    return text[: min(places)], True
