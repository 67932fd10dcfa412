"""Kept answers as streams, read by the official OpenAI SDK: it puts together the answer that was kept."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import openai
import pytest

from gateway.core.replay import cut_stream, rest_of
from gateway.core.sse import DONE

HELLO = [{"role": "user", "content": "hello"}]
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
HEAD = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "system_fingerprint": "fp"}
CALLS = [
    {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
    {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
]
TOKEN = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": []}


def completion(*messages: dict, finish: str = "stop", logprobs: dict | None = None) -> bytes:
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": None, "refusal": None, **message},
            "logprobs": logprobs,
            "finish_reason": finish,
        }
        for index, message in enumerate(messages)
    ]
    return json.dumps({**HEAD, "service_tier": "flex", "choices": choices, "usage": USAGE}).encode()


ANSWERS = {
    "text": completion({"content": "Hello there", "annotations": []}),
    "tools": completion({"tool_calls": CALLS}, finish="tool_calls"),
    "reasoning": completion({"content": "Hello", "reasoning_content": "They greet."}),
    "refusal": completion({"refusal": "I cannot help with that."}),
    "logprobs": completion({"content": "Hi"}, logprobs={"content": [TOKEN], "refusal": None}),
    "three": completion({"content": "one"}, {"content": "two"}, {"content": "three"}),
}


@contextmanager
def served(stream: bytes):
    """A client of a server that answers everything with this stream."""

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("content-length", str(len(stream)))
            self.end_headers()
            self.wfile.write(stream)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/v1"
        with openai.OpenAI(base_url=url, api_key="any", max_retries=0) as client:
            yield client
        server.shutdown()


def put_together(client: openai.OpenAI) -> dict:
    options = {"include_usage": True}
    with client.chat.completions.stream(model="m", messages=HELLO, stream_options=options) as stream:
        return stream.get_final_completion().model_dump(exclude_unset=True)


def bare(value):
    """Without what the SDK adds of its own, and without nulls."""
    if isinstance(value, dict):
        own = ("parsed", "parsed_arguments", "index")
        inner = {name: bare(one) for name, one in value.items() if name not in own}
        return {name: one for name, one in inner.items() if one not in (None, [])}
    return [bare(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("kept", ANSWERS.values(), ids=list(ANSWERS))
def test_the_sdk_puts_a_replayed_stream_together_to_the_kept_answer(kept):
    with served(cut_stream(kept, include_usage=True) + DONE) as client:
        assert bare(put_together(client)) == bare(json.loads(kept))


@pytest.mark.parametrize("kept", ANSWERS.values(), ids=list(ANSWERS))
def test_the_sdk_puts_a_beginning_and_its_rest_together_to_one_answer(kept):
    events = [event + b"\n\n" for event in cut_stream(kept, include_usage=True).split(b"\n\n")[:-1]]
    other = kept.replace(b"chatcmpl-1", b"chatcmpl-2")

    for had in range(1, len(events)):
        sent = b"".join(events[:had])
        rest = rest_of(sent, other, include_usage=True)
        assert rest is not None
        with served(sent + rest + DONE) as client:
            assert bare(put_together(client)) == bare(json.loads(kept))


def test_a_plain_loop_over_chunks_sees_each_part_by_itself():
    """As in DeepSeek's documentation: a chunk is either reasoning or content."""
    with served(cut_stream(ANSWERS["reasoning"], include_usage=False) + DONE) as client:
        reasoning = content = ""
        for chunk in client.chat.completions.create(model="m", messages=HELLO, stream=True):
            delta = chunk.choices[0].delta
            if getattr(delta, "reasoning_content", None):
                reasoning += delta.reasoning_content
            else:
                content += delta.content

    assert (reasoning, content) == ("They greet.", "Hello")


def test_usage_is_in_the_last_chunk_only_and_only_when_asked_for():
    with served(cut_stream(ANSWERS["text"], include_usage=True) + DONE) as client:
        *others, last = client.chat.completions.create(model="m", messages=HELLO, stream=True)
    assert all(chunk.usage is None and chunk.choices for chunk in others)
    assert (last.choices, last.usage.total_tokens) == ([], 7)

    with served(cut_stream(ANSWERS["text"], include_usage=False) + DONE) as client:
        assert all(chunk.choices for chunk in client.chat.completions.create(model="m", messages=HELLO, stream=True))
