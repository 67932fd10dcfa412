"""How often the cache of similar questions would give the answer to another question, and how often it helps.

    python -m learn.near [--words] [--crossed]

The pairs stand in near_tune.txt and near_held.txt, written by hand; only the first was looked at while the rules were
made. Vectors are those of wordllama (256 dimensions, its weights are in its wheel) where it is installed, else hashed
words. For each least similarity: what share of the pairs that mean something else would share an answer, with its 95 %
interval (Clopper-Pearson), and what share of those that mean the same; by similarity alone, and with the rules.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.core.nearmiss import differs
from gateway.simulator.embeddings import vector

HERE = Path(__file__).parent
THRESHOLDS = (0.0, 0.80, 0.85, 0.90, 0.95, 0.97)
TAIL = 0.025


@dataclass(frozen=True, slots=True)
class Pair:
    """kind: of what makes it another question; "same" when nothing does. direct: one of the two is the base."""

    one: str
    other: str
    same: bool
    kind: str
    direct: bool = True


def read_pairs(path: Path) -> list[Pair]:
    """Each base with its paraphrases and with its near-misses, then each paraphrase with each near-miss."""
    found: list[Pair] = []
    base, same = "", []
    for line in path.read_text().splitlines():
        mark, text = line[:2], line[2:]
        if mark == "= ":
            base, same = text, []
        elif mark == "+ ":
            same.append(text)
            found.append(Pair(base, text, True, "same"))
        elif mark == "- ":
            kind, _, other = text.partition(": ")
            found.append(Pair(base, other, False, kind))
            found += [Pair(one, other, False, kind, direct=False) for one in same]
    return found


def interval(hits: int, of: int) -> tuple[float, float]:
    """Clopper-Pearson, by halving: 95 %."""

    def tail(share: float, upper: bool) -> float:
        counts = range(hits + 1) if upper else range(hits, of + 1)
        return sum(math.comb(of, k) * share**k * (1 - share) ** (of - k) for k in counts)

    def solve(upper: bool) -> float:
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            if (tail(middle, upper) > TAIL) == upper:
                low = middle
            else:
                high = middle
        return low

    return (0.0 if hits == 0 else solve(False)), (1.0 if hits == of else solve(True))


Similar = Callable[[str, str], float]


def similarities(words: bool) -> tuple[str, Similar]:
    if not words:
        try:
            import wordllama  # no dependency of ours: 17 MB, for this figure alone
        except ImportError:
            print("wordllama is not installed (PyPI): hashed words stand in for vectors that know meanings")
        else:
            # All that it needs is in its wheel, where it would look for it if this were its cache.
            folder = Path(wordllama.__file__).parent
            model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
            return "wordllama, 256 dimensions", lambda one, other: float(model.similarity(one, other))
    return "hashed words", lambda one, other: sum(a * b for a, b in zip(vector(one), vector(other), strict=True))


def lines(pairs: Sequence[Pair], similar: Similar) -> Iterator[str]:
    measured = [(pair, similar(pair.one, pair.other), not differs(pair.one, pair.other)) for pair in pairs]
    yield (
        "| least similarity | another question, similarity alone | another question, with the rules | 95 % interval "
        "| same question, similarity alone | same question, with the rules |"
    )
    yield "|---|---|---|---|---|---|"
    misses = [one for one in measured if not one[0].same]
    same = [one for one in measured if one[0].same]
    for least in THRESHOLDS:
        alone = sum(cosine >= least for _, cosine, _ in misses)
        false = sum(cosine >= least and agreed for _, cosine, agreed in misses)
        low, high = interval(false, len(misses))
        helped = sum(cosine >= least for _, cosine, _ in same)
        both = sum(cosine >= least and agreed for _, cosine, agreed in same)
        yield (
            f"| {least:.2f} | {alone}/{len(misses)} ({alone / len(misses):.1%}) "
            f"| {false}/{len(misses)} ({false / len(misses):.1%}) | {low:.1%} to {high:.1%} "
            f"| {helped}/{len(same)} ({helped / len(same):.1%}) | {both}/{len(same)} ({both / len(same):.1%}) |"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", action="store_true", help="hashed words, also where wordllama is installed")
    parser.add_argument("--crossed", action="store_true", help="also each paraphrase with each near-miss")
    asked = parser.parse_args()
    name, similar = similarities(asked.words)
    for title, file in (("tuning", "near_tune.txt"), ("held out", "near_held.txt")):
        pairs = [pair for pair in read_pairs(HERE / file) if pair.direct or asked.crossed]
        print(f"\n{title}, {len(pairs)} pairs, vectors: {name}\n")
        print("\n".join(lines(pairs, similar)))
        reasons = Counter(differs(pair.one, pair.other) for pair in pairs if not pair.same)
        counts = (f"{reason or 'NOT REFUSED'} {count}" for reason, count in reasons.most_common())
        print("\nwhy not: " + ", ".join(counts))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
