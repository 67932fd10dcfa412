"""A question's text as the pieces that its meaning is compared by: words, numbers, names, code, quotes, signs. Pure.

What only greets or thanks is left out, where a sign sets it apart. Words are in small letters, unless capitals make
them something else; contractions are written out. Everything is bounded, so that no text takes long to read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from . import nearwords as words

_LEAST_KNOWN = 0.2

QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u00a0": " ", "\u2212": "-"})
_TOKEN = re.compile(
    r"""
    (?P<code> ```[\s\S]*?``` | `[^`\n]{0,999}` | https?://[^\s,;!?]+ | www\.[^\s,;!?]+
      | (?<![\w-])--?[A-Za-z][\w-]* | [A-Za-z]:\\[^\s]+ | (?:[~.]{0,2}/[\w.@+~-]{0,80}\w)+/?
      | [\w.-]{0,80}\w(?:/[\w.-]{0,80}\w)+
      | [A-Za-z_$][\w$]{0,80}(?:(?:\.|::|->)[A-Za-z_$][\w$]{0,80})+(?:\(\))? | [A-Za-z_]\w{0,80}\(\)
      | (?<!\w)\.[A-Za-z]\w*
      | [A-Za-z](?:\+\+|\#)(?!\w) )
  | (?P<mail> [\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64})+ | [\#@][\w-]+ )
  | (?P<quoted> "[^"\n]{0,500}" | «[^»\n]{0,200}» | (?<!\w)'[^'\n]{1,500}'(?!\w) )
  | (?P<number> (?:(?<![\w.)])[-+])?\d\w*(?:[.,:/-]\d\w*)* )
  | (?P<word> [^\W\d][\w$]*(?:'\w+)* )
  | (?P<end> [.?!]{1,8}(?=\s|$) | \n[ \t\n]* )
  | (?P<mute> [^\S\n]+ | [,;.:?!"'¿¡…–—] | (?<=\w\w)-(?=\w\w) | (?<=\d)-(?=[^\W\d]\w) )
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
    r"(?<=[\w\"`)%])(?P<end>[?.!]{0,3})[,.!?;\s–—-]{0,5}[,.!?;–—-]\s{0,5}"
    r"(?:please|many thanks|cheers|(?:thanks|thank you)(?: very much| so much| a lot| in advance)?)[\s.!?]{0,5}$",
    re.IGNORECASE,
)
_EDGES = " \t\n.!¡"


class Piece(NamedTuple):
    """A piece of a text as it is compared. bends: a word that may stand in another number or form."""

    kind: str
    text: str
    bends: bool = False


def plain(text: str) -> str:
    """Without a greeting before it and thanks behind it, where a sign sets them apart."""
    text = _GREETING.sub("", text, count=1) if _GREETING.match(text) else text
    return _THANKS.sub(r"\g<end>", text, count=1).strip()


def split(text: str) -> list[Piece]:
    shouted = text.isupper()
    found: list[Piece] = []
    begins = True
    for match in _TOKEN.finditer(text):
        kind, piece = match.lastgroup or "", match.group()
        if kind == "mute":
            if piece == "," and found and found[-1].text in words.ALONE:  # "no, do it"
                found.append(Piece("line", ","))
            continue
        if kind == "end":
            begins = True
            found.append(Piece("line", _end(piece)))
            continue
        if kind == "word" and found and found[-1].kind == "number" and piece != piece.lower():
            found.append(Piece("name", piece))  # mg and Mg, Mb and MB
        elif kind == "word":
            found += _words(piece, begins=begins, shouted=shouted)
        elif kind == "number" and _THOUSANDS.fullmatch(piece):
            found.append(Piece("number", piece.replace(",", "")))
        else:
            found.append(Piece("name" if kind == "mail" else kind, piece))
        begins = False
    return found


def _end(piece: str) -> str:
    """Of a line: with how far the next one is set in, which says something in code. Of a sentence: whether it asks."""
    if "\n" in piece:
        return "\n" + piece.rpartition("\n")[2]
    return "?" if "?" in piece else "."


def _words(piece: str, *, begins: bool, shouted: bool) -> list[Piece]:
    low = piece.lower()
    if _HUMP.search(piece) and not shouted:
        return [Piece("word", low)] if low in words.BRANDS else [Piece("code", piece)]
    if piece != low and not shouted:
        capitals = piece.isupper() and len(piece) > 1
        if low in words.CASED and (capitals or not (begins or low in words.KNOWN)):
            return [Piece("name", piece)]
        if (capitals and low in words.KNOWN) or (low in words.ARTICLES and not begins):
            return [Piece("name", piece)]  # for emphasis, short for something, or vitamin A
    bends = piece == low
    plain = bends or begins
    return [Piece("word", words.SYNONYMS.get(one, one) if plain else one, bends) for one in _spelled(low)]


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


def is_english(tokens: Sequence[Piece]) -> bool:
    found = [token.text for token in tokens if token.kind == "word"]
    known = sum(text in words.KNOWN or text in words.VERBS for text in found)
    foreign = sum(text in words.FOREIGN or not text.isascii() for text in found)
    return known > foreign and known >= _LEAST_KNOWN * len(found)


def letters(text: str) -> str:
    """As it is but for the first letter's case, white space within a line, and signs at its ends that do not ask."""
    text = "\n".join(" ".join(line.split()) for line in text.strip(_EDGES).splitlines())
    return text[:1].lower() + text[1:]
