"""The stream scanner: bytes at any split, what is forwarded, what is held back, what is learned."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.sse import StreamScanner

ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}],"usage":null}\n\n'
HELLO = b'data: {"choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}],"usage":null}\n\n'
WORLD = b'data: {"choices":[{"index":0,"delta":{"content":" world"},"finish_reason":null}],"usage":null}\n\n'
FINISH = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":34,"total_tokens":46}}\n\n'
DONE = b"data: [DONE]\n\n"
STREAM = ROLE + HELLO + WORLD + FINISH + USAGE + DONE


def scan(*chunks: bytes, drop_usage: bool = False) -> tuple[StreamScanner, bytes]:
    scanner = StreamScanner(drop_usage=drop_usage)
    return scanner, b"".join(scanner.feed(chunk) for chunk in chunks)


@pytest.mark.parametrize("at", range(len(STREAM) + 1))
def test_a_stream_split_anywhere_is_read_the_same(at):
    scanner, out = scan(STREAM[:at], STREAM[at:])

    assert out == ROLE + HELLO + WORLD + FINISH + USAGE
    assert scanner.usage_raw == b'{"prompt_tokens":12,"completion_tokens":34,"total_tokens":46}'
    assert (scanner.finish_reason, scanner.complete, scanner.done) == ("stop", True, True)


def test_a_stream_fed_byte_by_byte_is_read_the_same():
    scanner, out = scan(*(STREAM[at : at + 1] for at in range(len(STREAM))))

    assert out == ROLE + HELLO + WORLD + FINISH + USAGE
    assert scanner.complete
    assert scanner.usage_raw


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_any_cuts_give_the_same_bytes(cuts):
    edges = [0, *sorted(cuts), len(STREAM)]
    scanner, out = scan(*(STREAM[a:b] for a, b in pairwise(edges)), drop_usage=True)

    assert out == ROLE + HELLO + WORLD + FINISH
    assert scanner.usage_raw
    assert scanner.done


def test_a_plain_content_chunk_is_forwarded_as_the_same_object():
    scanner, _ = scan(ROLE, HELLO)

    assert scanner.feed(WORLD) is WORLD


def test_a_usage_event_that_was_not_asked_for_is_left_out_and_learned():
    scanner, out = scan(HELLO, USAGE, drop_usage=True)

    assert out == HELLO
    assert scanner.usage_raw.startswith(b'{"prompt_tokens":12')


def test_usage_beside_choices_is_forwarded_even_when_not_asked_for():
    usage = b'"usage":{"prompt_tokens":1,"completion_tokens":2}'
    both = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}],' + usage + b"}\n\n"
    scanner, out = scan(HELLO, both, drop_usage=True)

    assert out == HELLO + both
    assert scanner.usage_raw == b'{"prompt_tokens":1,"completion_tokens":2}'


def test_a_role_alone_is_not_content_and_a_tool_call_is():
    tool = b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c"}]}}]}\n\n'

    assert not scan(ROLE)[0].content
    assert scan(ROLE, tool)[0].content


def test_keep_alive_comments_are_forwarded_and_are_not_content():
    scanner, out = scan(b": keep-alive\n\n", b": keep-alive\n\n")

    assert out == b": keep-alive\n\n: keep-alive\n\n"
    assert not scanner.content
    assert scanner.events == 0


def test_text_that_talks_about_errors_and_done_is_content():
    said = rb'data: {"choices":[{"index":0,"delta":{"content":"{\"error\": 1} [DONE] \"usage\":{"}}]}' + b"\n\n"
    scanner, out = scan(HELLO, said)

    assert out == HELLO + said
    assert scanner.fault is None
    assert not scanner.done


def test_an_in_band_error_stops_the_stream_and_is_not_forwarded():
    scanner, out = scan(HELLO, b'data: {"error":{"message":"overloaded","code":503}}\n\n', WORLD)

    assert out == HELLO
    assert scanner.fault == "an in-band error"
    assert scanner.error_raw == b'{"message":"overloaded","code":503}'


def test_a_null_error_is_no_error():
    event = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}],"error":null}\n\n'

    assert scan(HELLO, event)[0].fault is None


def test_an_event_that_is_not_json_is_a_fault():
    scanner, out = scan(HELLO, b'data: {"choices":[{"ind\n\n')

    assert out == HELLO
    assert scanner.fault == "an event that is not JSON"


def test_a_stream_is_complete_only_when_every_choice_has_finished():
    one = b'data: {"choices":[{"index":0,"delta":{"content":"a"}},{"index":1,"delta":{"content":"b"}}]}\n\n'
    first = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    second = b'data: {"choices":[{"index":1,"delta":{},"finish_reason":"stop"}]}\n\n'

    assert not scan(one, first)[0].complete
    assert scan(one, first, second)[0].complete


def test_windows_line_ends_are_read_too():
    scanner, out = scan(STREAM.replace(b"\n", b"\r\n"), drop_usage=True)

    assert scanner.done
    assert scanner.usage_raw
    assert USAGE.replace(b"\n", b"\r\n") not in out


def test_an_event_without_end_is_a_fault_before_memory_is():
    scanner = StreamScanner(drop_usage=False)
    for _ in range(20):
        scanner.feed(b"x" * 1024 * 1024)
        if scanner.fault:
            break

    assert scanner.fault == "an event of more than 16777216 bytes"


def test_usage_is_the_last_one_only_when_it_comes_with_the_finish_or_after_it():
    running = HELLO.replace(b'"usage":null', b'"usage":{"prompt_tokens":12,"completion_tokens":1}')
    both = FINISH.replace(b'"usage":null', b'"usage":{"prompt_tokens":12,"completion_tokens":34}')

    assert not scan(running, FINISH)[0].settled
    assert scan(HELLO, FINISH, USAGE)[0].settled
    assert scan(running, both)[0].settled
    assert not scan(running, DONE)[0].settled


def test_an_empty_finish_reason_is_none():
    scanner, _ = scan(HELLO.replace(b'"finish_reason":null', b'"finish_reason":""'), DONE)

    assert (scanner.complete, scanner.finish_reason) == (False, None)


def test_done_does_not_make_a_stream_complete():
    scanner, _ = scan(HELLO, DONE)

    assert (scanner.done, scanner.complete) == (True, False)
