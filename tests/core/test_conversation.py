"""A turn is found by its beginning, by its own team, and by nobody else."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from gateway.core.candidate import Held, Warm
from gateway.core.conversation import MOST_OTHERS, PromptCache, Turn, answered, fingerprint, subkey, warmth
from gateway.core.request import ChatRequest, parse_chat

KEY = subkey(b"secret")
SYSTEM = {"role": "system", "content": "Answer concisely."}
ASK = {"role": "user", "content": "Where is the café?"}
ANSWER = {"role": "assistant", "content": "Round the corner."}
MORE = {"role": "user", "content": "And the bar?"}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
CALLS = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "nothing"}
AT_US = 1_795_392_000_000_000


def asked(*messages: dict[str, Any], **fields: Any) -> ChatRequest:
    return parse_chat(json.dumps({"model": "auto", "messages": messages, **fields}).encode())


def test_the_next_turn_finds_the_one_before_by_its_beginning():
    first, second, third = asked(SYSTEM, ASK), asked(SYSTEM, ASK, ANSWER, MORE), asked(SYSTEM, ASK, ANSWER, MORE, CALLS)

    assert first.history is None
    assert second.conversation.before == first.conversation.whole
    assert third.conversation.before == second.conversation.whole
    assert [one.conversation.messages for one in (first, second, third)] == [2, 4, 5]


def test_an_answer_in_several_messages_is_one_answer():
    assert asked(ASK, ANSWER, CALLS, RESULT).conversation.before == asked(ASK).conversation.whole


def test_a_conversation_that_the_assistant_opens_has_no_beginning():
    request = asked(ANSWER, ASK)

    assert request.history is not None
    assert request.history.answered == 0
    assert request.conversation.before == b""


def test_white_space_makes_no_difference():
    messages = [SYSTEM, ASK, ANSWER, MORE]
    loose = json.dumps({"model": "auto", "messages": messages}, indent=3).encode()
    tight = json.dumps({"model": "auto", "messages": messages}, separators=(",", ":")).encode()

    assert parse_chat(loose).conversation == parse_chat(tight).conversation


@pytest.mark.parametrize(
    "rewritten",
    [
        (SYSTEM, {**ASK, "content": "Where is the bar?"}, ANSWER, MORE),
        ({**SYSTEM, "role": "developer"}, ASK, ANSWER, MORE),
        (ASK, ANSWER, MORE),
        (SYSTEM, {**ASK, "name": "ann"}, ANSWER, MORE),
    ],
)
def test_a_rewritten_history_is_a_miss(rewritten):
    assert asked(*rewritten).conversation.before != asked(SYSTEM, ASK).conversation.whole


def test_text_cannot_move_from_one_message_to_the_next_unseen():
    one = asked({"role": "user", "content": 'a"},{"role":"user","content":"b'})
    two = asked({"role": "user", "content": "a"}, {"role": "user", "content": "b"})

    assert one.conversation.whole != two.conversation.whole


def test_no_two_teams_share_a_name_and_no_name_is_made_without_the_secret():
    said = asked(ASK).conversation.whole
    names = {
        fingerprint(key, organisation=organisation, team=team, said=said)
        for key, organisation, team in (
            (KEY, "a", "b"), (KEY, "b", "a"), (KEY, "ab", ""), (KEY, "", "ab"), (subkey(b"other"), "a", "b"),
        )
    }  # fmt: skip

    assert len(names) == 5
    assert all(len(name) == 32 for name in names)


def test_the_history_knows_tool_loops_and_what_is_bound_to_a_maker():
    plain, loop = asked(ASK, ANSWER, MORE).history, asked(ASK, CALLS, RESULT).history
    done = asked(ASK, CALLS, RESULT, ANSWER, MORE).history
    thought = asked(ASK, {**ANSWER, "reasoning_content": "hm"}, MORE).history
    spoken = asked(ASK, {**ANSWER, "audio": {"id": "a1"}}, MORE).history
    dumped = asked(ASK, {**ANSWER, "audio": None, "function_call": None}, MORE).history

    assert plain is not None
    assert (plain.bound, plain.in_loop, plain.held, plain.called) == ((), False, False, False)
    assert loop is not None
    assert (loop.bound, loop.in_loop, loop.called) == ((1,), True, True)
    assert done is not None
    assert (done.bound, done.in_loop, done.called, done.answered) == ((1,), False, True, 3)
    assert thought is not None
    assert (thought.bound, thought.called) == ((1,), False)
    assert [one is not None and one.held for one in (spoken, dumped)] == [True, False]


def later(seconds: int) -> int:
    return AT_US + seconds * 1_000_000


CACHE = PromptCache(least_tokens=1_024, keeps_s=300)
TURN = Turn(Held("openai/big", 2_048, later(300)), b"")


def found(request: ChatRequest, one: Turn, after_s: int = 10) -> Warm | None:
    assert request.history is not None
    return warmth(one, request.history, request.conversation, later(after_s))


def test_a_warm_prompt_cache_is_known_until_the_provider_forgets_it():
    request = asked(ASK, ANSWER, MORE)

    assert found(request, TURN) == Warm("openai/big", 2_048, until_us=later(300))
    assert found(request, TURN, after_s=300) is None


def test_other_tools_begin_another_prompt():
    request = asked(ASK, ANSWER, MORE, tools=[{"type": "function", "function": {"name": "look"}}])
    same = msgspec.structs.replace(TURN, head=request.conversation.head)

    assert found(request, TURN) is None
    assert found(request, same) == Warm("openai/big", 2_048, until_us=later(300))


def test_a_tool_loop_is_locked_also_when_the_cache_has_gone_cold():
    loop, done = asked(ASK, CALLS, RESULT), asked(ASK, CALLS, RESULT, ANSWER, MORE)

    assert found(loop, TURN, after_s=900) == Warm("openai/big", 0, locked=True, until_us=later(300))
    assert found(done, TURN) == Warm("openai/big", 2_048, until_us=later(300))


def test_a_remembered_turn_survives_its_encoding():
    one = msgspec.structs.replace(TURN, head=b"12345678", own_from=3, others=(Held("google/new", 1, 2),))

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(one), type=Turn) == one


def after(model: str, warm: Warm | None) -> Turn:
    held = CACHE.after(model, prompt=1_250, size=5_000, now_us=AT_US)
    return answered(held, asked(*[ASK, ANSWER] * 3, MORE).conversation, warm)


def test_answers_are_a_models_own_from_where_it_took_over():
    assert after("google/new", None).own_from == 0
    assert after("google/new@low", Warm("google/new@high", 0, own_from=3)).own_from == 3
    assert after("google/new", Warm("openai/big", 0, own_from=3)).own_from == 7
    assert after("google/new@2024", Warm("google/new@2025", 0, own_from=3)).own_from == 7


def test_who_answered_earlier_still_knows_what_it_has_read():
    first = Warm("openai/big", 2_000, until_us=later(100))
    away = found(asked(ASK, ANSWER, MORE), after("google/new", first))

    assert away == Warm("google/new", 5_000, False, 7, later(300), (Held("openai/big", 2_000, later(100)),))
    assert [away.at(name) for name in ("google/new", "openai/big", "deepseek/flash")] == [5_000, 2_000, 0]
    assert after("openai/big", away).others == (Held("google/new", 5_000, later(300)),)
    assert found(asked(ASK, ANSWER, MORE), after("google/new", first), after_s=150).others == ()


def test_only_so_many_models_are_remembered_and_none_that_knows_nothing():
    warm = Warm("a/1", 0, others=tuple(Held(f"b/{number}", 9, later(9)) for number in range(5)))

    assert [one.model for one in after("c/1", warm).others] == ["b/0", "b/1", "b/2"]
    assert len(after("c/1", warm).others) == MOST_OTHERS


def test_what_a_cache_holds_is_kept_as_its_part_of_the_prompts_bytes():
    steps = PromptCache(least_tokens=1_024, step=128, keeps_s=60)

    assert steps.after("a/1", prompt=1_200, size=6_000, now_us=AT_US) == Held("a/1", 5_760, later(60))
    assert steps.after("a/1", prompt=1_000, size=6_000, now_us=AT_US).prompt_bytes == 0
    assert steps.after("a/1", prompt=0, size=0, now_us=AT_US).prompt_bytes == 0


@pytest.mark.parametrize(("prompt", "held"), [(1_023, 0), (1_024, 1_024), (1_151, 1_024), (1_152, 1_152)])
def test_short_prompts_are_not_cached_and_long_ones_in_steps(prompt, held):
    assert PromptCache(least_tokens=1_024, step=128).holds(prompt) == held


def test_many_messages_of_the_assistant_are_read_in_linear_time():
    request = asked(*[{"role": "assistant", "content": ""}] * 50_000, MORE)

    assert request.history is not None
    assert request.history.answered == 0
    assert len(request.history.answers) == 50_000
