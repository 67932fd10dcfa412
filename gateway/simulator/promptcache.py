"""Prompt caching: a prefix of messages that was seen before costs less, from a provider's minimum length on.

What was seen is kept as digests, least recently used forgotten first, so it runs for ever in bounded memory.
"""

from collections import OrderedDict
from dataclasses import dataclass

_REMEMBERED = 50_000


@dataclass(frozen=True, slots=True)
class CacheRule:
    minimum: int  # tokens; shorter prefixes are not cached
    step: int  # cached lengths are whole multiples of it

    def cacheable(self, tokens: int) -> int:
        return tokens - tokens % self.step if tokens >= self.minimum else 0


class PromptCache:
    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str, bytes], None] = OrderedDict()

    def clear(self) -> None:
        self._seen.clear()

    def visit(self, whose: tuple[str, str], prefixes: list[tuple[bytes, int]], rule: CacheRule) -> tuple[int, int]:
        """(prompt tokens read from the cache, prompt tokens written to it), and remembers this prompt.

        `whose` is provider and model; `prefixes` are the prompt's, growing, as (digest, tokens).
        """
        known = 0
        for digest, tokens in prefixes:
            key = (*whose, digest)
            if key in self._seen:
                known = tokens
                self._seen.move_to_end(key)
            self._seen[key] = None
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        read = rule.cacheable(known)
        return read, max(0, rule.cacheable(prefixes[-1][1]) - read)
