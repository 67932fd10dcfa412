"""Which conversation a request continues, and what is remembered of one. Pure.

This API has no conversation id: a client sends all that was said again, with its new messages at the end. So a turn is
known by its beginning. When a request has been answered, it is remembered under a digest of all its messages; the next
turn finds it by the digest of its messages before the last answer. A client that rewrites what was said finds nothing,
and so does one that writes the same messages with other escapes or with keys in another order; white space between
them makes no difference.

No prompt leaves this module: digests only, and outside of the process they are keyed with the gateway's secret and the
caller's organisation and team (`fingerprint`), so that two teams that say the same never meet.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

import msgspec

from .candidate import Held, Warm
from .catalog import EFFORTS

WORTH_BYTES = 2_000
"""A first question shorter than this, without tools, is not remembered: no provider caches less than that is."""

MOST_OTHERS = 3
"""So many earlier models are remembered beside the one that answered last."""

LOOP_S = 1_800
"""How long it is remembered who called a tool: results may come long after the prompt cache has gone cold."""


class History(msgspec.Struct, frozen=True, gc=False):
    """Where a request's messages stand in their conversation; there is none before the assistant has spoken.

    answered: where the last answer begins. answers: the places of all messages of the assistant. bound: of those with
    tool calls, or with fields that one provider only knows. called: there are tool calls in it. in_loop: tool results
    have come since the last answer. held: an answer points at something that only its maker has.
    """

    answered: int
    answers: tuple[int, ...]
    bound: tuple[int, ...] = ()
    called: bool = False
    in_loop: bool = False
    held: bool = False


class Conversation(msgspec.Struct, frozen=True, gc=False):
    """Digests of what was said. before: up to the last answer; b"": there is none. whole: of all of it. head: of what
    a prompt begins with besides the messages, such as tools. messages: how many there are.
    """

    before: bytes
    whole: bytes
    head: bytes
    messages: int


class Turn(msgspec.Struct, frozen=True, array_like=True):
    """An answered turn as it is remembered.

    by: who answered, with effort, and what its provider's cache holds since. head: as in Conversation. own_from and
    others: as in Warm.
    """

    by: Held
    head: bytes
    own_from: int = 0
    others: tuple[Held, ...] = ()


class PromptCache(msgspec.Struct, frozen=True, gc=False):
    """How a provider caches prompts by itself: from how many tokens on, in which steps, and for how long."""

    least_tokens: int
    step: int = 1
    keeps_s: int = 300

    def holds(self, prompt: int) -> int:
        """How many tokens of such a prompt are found again."""
        return prompt - prompt % self.step if prompt >= self.least_tokens else 0

    def after(self, model: str, *, prompt: int, size: int, now_us: int) -> Held:
        """What a model's cache holds after a prompt of so many tokens, and so many bytes."""
        return Held(model, size * self.holds(prompt) // max(prompt, 1), now_us + self.keeps_s * 1_000_000)


_split = msgspec.json.Decoder(list[msgspec.Raw]).decode
_HEAD = ("tools", "functions", "response_format")


def read_conversation(fields: Mapping[str, msgspec.Raw], history: History | None) -> Conversation:
    """The digests of a request that was parsed. One pass over its messages: about 1 us a kilobyte."""
    compact = msgspec.json.format(fields["messages"], indent=-1)
    messages = _split(compact)
    digest = hashlib.sha256()
    said, before = memoryview(compact), b""
    end = 1
    if history is not None and history.answered:
        # Compact, so a message is followed by exactly one comma: the prefix is one slice.
        end += sum(len(memoryview(one)) + 1 for one in messages[: history.answered])
        digest.update(said[1 : end - 1])
        before = digest.copy().digest()
        digest.update(said[end - 1 : -1])
    else:
        digest.update(said[1:-1])
    return Conversation(before, digest.digest(), _head(fields), len(messages))


def _head(fields: Mapping[str, msgspec.Raw]) -> bytes:
    given = [fields[name] for name in _HEAD if name in fields]
    if not given:
        return b""
    digest = hashlib.sha256()
    for one in given:
        digest.update(one)
    return digest.digest()[:8]


def subkey(secret: bytes) -> bytes:
    """The gateway's secret, for this use only."""
    return hmac.digest(secret, b"conversations", "sha256")


def fingerprint(key: bytes, *, organisation: str, team: str, said: bytes) -> str:
    """Under which name a turn is remembered: a keyed BLAKE2b in hex. `said`: a digest of this module.

    Parts are length-prefixed, so no two callers run together.
    """
    org, group = organisation.encode(), team.encode()
    parts = (len(org).to_bytes(4, "big"), org, len(group).to_bytes(4, "big"), group, said)
    return hashlib.blake2b(b"".join(parts), key=key, digest_size=16).hexdigest()


def answered(by: Held, conversation: Conversation, warm: Warm | None) -> Turn:
    """The turn that was just answered. warm: what was known before."""
    if warm is None:
        # What was said by nobody known was sent as it came, and the model took it: that counts as the model's own.
        return Turn(by, conversation.head)
    own_from = warm.own_from if base(warm.model) == base(by.model) else conversation.messages
    known = (Held(warm.model, warm.prompt_bytes, warm.until_us), *warm.others)
    others = tuple(one for one in known if one.model != by.model and one.prompt_bytes)[:MOST_OTHERS]
    return Turn(by, conversation.head, own_from, others)


def warmth(turn: Turn, history: History, conversation: Conversation, now_us: int) -> Warm | None:
    """What a remembered turn means for the next one; None when it means nothing."""
    by, same = turn.by, turn.head == conversation.head  # with other tools it is another prompt from its start
    held = by.prompt_bytes if same and now_us < by.until_us else 0
    others = tuple(one for one in turn.others if now_us < one.until_us) if same else ()
    locked = history.in_loop or history.held
    if not held and not others and not locked and not history.bound:
        return None
    return Warm(by.model, held, locked, turn.own_from, by.until_us, others)


def base(model: str) -> str:
    """A model's id without its effort; other words after an @ are part of its name. Signatures know no efforts."""
    name, _, effort = model.rpartition("@")
    return name if effort in EFFORTS else model
