"""How often the store of similar questions finds the one that is close enough, and how long it takes.

    python -m bench.similar [--seconds 10]

Contexts of 1,000 questions each, the most that one holds: vectors drawn at random around a few themes, so that there
are neighbours, and each asked question lies at a chosen cosine from one of them. Recall is over the first of both
steps, the signatures; the second compares exactly.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import tempfile
import time
import uuid
from pathlib import Path

import numpy as np

from gateway.core.nearmiss import differs
from gateway.stores.box import box_key
from gateway.stores.embedded import EmbeddedStore
from gateway.stores.similar import MOST, MOST_COMPARED, RedisSimilar
from gateway.vectors import Signer, most_apart, nearest
from learn.near import HERE, read_pairs

LOOSE, TIGHT = (20, 0.7), (5, 0.975)
"""Themes, and how close their questions are to them: any two of one theme are at about the square of it."""

ASKED = 400


def around(dice, centre, cosine):
    across = dice.standard_normal(centre.size)
    across -= centre * (centre @ across)
    across /= np.linalg.norm(across)
    return (centre * cosine + across * math.sqrt(1 - cosine**2)).astype(np.float32)


def context_of(dice, size, kind=LOOSE):
    count, cosine = kind
    themes = [one / np.linalg.norm(one) for one in dice.standard_normal((count, size))]
    return [around(dice, themes[place % count], cosine) for place in range(MOST)]


def recall(size: int, threshold: float, cosine: float, kind: tuple[int, float]) -> float:
    dice, signer = np.random.default_rng(7), Signer(b"bench")
    known = context_of(dice, size, kind)
    signatures = [signer.sign(one) for one in known]
    found = 0
    for _ in range(ASKED):
        place = int(dice.integers(MOST))
        asked = signer.sign(around(dice, known[place], cosine))
        found += place in nearest(asked, signatures, most_bits=most_apart(threshold), most=MOST_COMPARED)
    return found / ASKED


async def timed(size: int, seconds: float) -> str:
    dice = np.random.default_rng(8)
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedStore(Path(folder))
        await server.start()
        store = RedisSimilar(server.url, (box_key(b"b" * 32),), b"bench")
        context, ends = uuid.uuid4().hex, int((time.time() + 600) * 1e6)
        known = context_of(dice, size)
        for one in known:
            await store.keep(context, one.tolist(), "How do I reset my password?", uuid.uuid4().hex * 2, ends)
        taken, used, hits = [], time.process_time(), 0
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            asked = around(dice, known[int(dice.integers(MOST))], 0.96).tolist()
            began = time.perf_counter()
            hits += bool(await store.find(context, asked, 0.95))
            taken.append(time.perf_counter() - began)
        cpu_us = (time.process_time() - used) / len(taken) * 1e6
        await store.close()
        await server.close()
    taken.sort()
    p50, p99 = (taken[int(len(taken) * share)] * 1e3 for share in (0.5, 0.99))
    took = f"p50 {p50:.2f} ms, p99 {p99:.2f} ms, {cpu_us:.0f} us CPU with making the question"
    return f"{took}; found {hits}/{len(taken)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    seconds = parser.parse_args().seconds
    for size in (256, 1_536, 3_072):
        for threshold, cosine in ((0.8, 0.8), (0.9, 0.9), (0.95, 0.95), (0.95, 0.98)):
            loose, tight = (recall(size, threshold, cosine, kind) for kind in (LOOSE, TIGHT))
            print(f"{size:>5} dimensions, threshold {threshold}, asked at {cosine}: found {loose:.1%} of {ASKED}, "
                  f"{tight:.1%} among 200 at cosines of 0.95")
    for size in (256, 1_536):
        print(f"{size:>5} dimensions, 1,000 questions: {asyncio.run(timed(size, seconds))}")
    pairs = [pair for file in ("near_tune.txt", "near_held.txt") for pair in read_pairs(HERE / file)]
    began = time.perf_counter()
    for pair in pairs:
        differs(pair.one, pair.other)
    print(f"rules: {(time.perf_counter() - began) / len(pairs) * 1e6:.0f} us a pair of {len(pairs)}")


if __name__ == "__main__":
    main()
