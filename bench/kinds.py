"""What reading the kind of a task costs: the text, and the text found in the messages of a request. One thread.

    python -m bench.kinds

Processor time of the thread, so that waiting for a busy machine does not count. Texts are prose, code and Chinese by
turns, all different, so that no cache of the processor knows them; every single call counts.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import time
from collections.abc import Callable, Sequence

from gateway.kinds.messages import last_user_text
from gateway.kinds.reader import KindReader
from gateway.kinds.shipped import SHIPPED

SIZES = (100, 500, 4_000, 100_000)
MUST_P50_US, MUST_P99_US = 150, 500
"""At 500 characters; longer texts are cut, so that no length costs more than 4,000 characters do."""

PROSE = """The committee heard nine witnesses and asked for a short summary before the recess? Please translate,
compare and explain why prices rose by 12.5 % while (according to Table 3) volumes fell; mention Ms Okafor's
letter too.""".split()
CODE = """def read(path: str) -> list[int]: return [int(x) for x in open(path) if x.strip() != ""] # TODO: errors
for i in range(len(a)): total += a[i] * b[i - 1]; print(f"{total=}")""".split()
CHINESE = ["请把下面的会议记录", "整理成三条结论，", "并翻译成英文。", "预算不变，", "发布日期推到五月十日。"]


def texts(size: int, count: int, dice: random.Random) -> list[str]:
    made = []
    for number in range(count):
        words, between = ((PROSE, " "), (CODE, " "), (PROSE, " "), (CHINESE, ""))[number % 4]
        # Words that differ from text to text, as those of people do.
        drawn = (f"{dice.choice(words)}{dice.choice('aeiou')}" for _ in range(size // 2))
        made.append(between.join(drawn)[:size])
    return made


def timed(call: Callable[[object], object], asked: Sequence[object], rounds: int) -> list[float]:
    """Microseconds of every call, sorted."""
    taken = []
    gc.disable()
    for _ in range(rounds):
        for one in asked:
            start = time.thread_time_ns()
            call(one)
            taken.append((time.thread_time_ns() - start) / 1_000)
    gc.enable()
    return sorted(taken)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    reader = KindReader.of(SHIPPED.read_bytes())
    kept = True
    print(f"{'characters':>10}{'read p50 us':>14}{'p99':>8}{'found in messages p50 us':>28}{'p99':>8}")
    for size in SIZES:
        made = texts(size, 400 if size < 10_000 else 100, random.Random(size))
        bodies = [json.dumps([{"role": "user", "content": one}]).encode() for one in made]
        timed(reader.read, made, 1)
        read, found = timed(reader.read, made, rounds), timed(last_user_text, bodies, rounds)
        figures = [(statistics.median(one), one[len(one) * 99 // 100]) for one in (read, found)]
        print(f"{size:>10,}{figures[0][0]:>14.0f}{figures[0][1]:>8.0f}{figures[1][0]:>28.1f}{figures[1][1]:>8.1f}")
        if size == 500:
            kept = figures[0][0] < MUST_P50_US and figures[0][1] < MUST_P99_US
    print(
        f"at 500 characters under {MUST_P50_US} us at p50 and {MUST_P99_US} us at p99: {'kept' if kept else 'MISSED'}"
    )
    return 0 if kept else 1


if __name__ == "__main__":
    raise SystemExit(main())
