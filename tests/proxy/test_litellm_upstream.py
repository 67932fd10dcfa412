"""litellm's SDK against real sockets: what reaches the wire, what comes back, and what must never do either."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from gateway.core.catalog import Model, Provider
from gateway.core.contracts import Target
from gateway.core.errors import Blame, GatewayError
from gateway.core.pricing import Usage
from gateway.core.route import Timeouts
from gateway.core.sse import DONE, StreamScanner
from gateway.dialects.openai import OpenAI
from gateway.proxy.litellm_upstream import LiteLLMUpstream

# litellm mutes these where it is imported; pytest brings them back.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*are? using the `ReadOnly` qualifier:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*is using the `ReadOnly` qualifier:UserWarning"),
    pytest.mark.filterwarnings("ignore:Accessing the:DeprecationWarning"),
]

KEY = "sk-very-secret-0123456789"
PROMPT = "a prompt that nobody else may read"
ASK = {"model": "m", "messages": [{"role": "user", "content": PROMPT}]}
STREAM = {**ASK, "stream": True, "stream_options": {"include_usage": True}}

USAGE = (
    b'{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13,"prompt_tokens_details":{"cached_tokens":3},'
    b'"completion_tokens_details":{"reasoning_tokens":1}}'
)
WHOLE = (
    b'{"id":"c1","object":"chat.completion","created":1,"model":"m","service_tier":"flex","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"Hello","refusal":null},"finish_reason":"stop","logprobs":null}],'
    b'"usage":%s}'
)
HEAD = b'data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":['
ROLE = HEAD + b'{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
HEL = HEAD + b'{"index":0,"delta":{"content":"Hel"},"finish_reason":null}]}\n\n'
LO = HEAD + b'{"index":0,"delta":{"content":"lo"},"finish_reason":null}]}\n\n'
STOP = HEAD + b'{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
BILL = HEAD + b'],"usage":' + USAGE + b"}\n\n"
NOPE = b'{"error":{"message":"nope, %s","type":"t","param":"p","code":"c"}}' % KEY.encode()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Wire:
    """A provider's server. `asked` holds every request that reached it: method, headers, body."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], dict]] = []
        self.answer: Handler = replies(200, WHOLE % USAGE)
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append((request.method, headers, json.loads(body) if body else {}))
        return await self.answer(request)


def replies(status: int, body: bytes, **headers: str) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, body=body, headers={"content-type": "application/json", **more})

    return answer


def streams(*events: bytes, then: str = "end") -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for event in events:
            await response.write(event)
        if then == "abort":
            await asyncio.sleep(0.05)
            request.transport.abort()
        return response

    return answer


async def drops(request: web.Request) -> web.StreamResponse:
    request.transport.abort()
    return web.Response()


@pytest.fixture
async def wire():
    wire = Wire()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", wire.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    wire.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield wire
    await runner.cleanup()


@pytest.fixture
async def upstream():
    upstream = LiteLLMUpstream()
    yield upstream
    await upstream.close()


def target(url: str, litellm_provider: str = "hosted_vllm", *, model: str = "m", key: str | None = KEY) -> Target:
    provider = Provider("elsewhere", "openai", url, "ELSEWHERE_KEY", "EU", "litellm", litellm_provider)
    wanted = Model(f"elsewhere/{model}", "elsewhere", model, 100_000, 1_000, frozenset(), 100)
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    return Target(wanted, provider, OpenAI(), f"{url}/chat/completions", headers, simulated=False)


async def ask(upstream: LiteLLMUpstream, where: Target, fields: dict):
    body = json.dumps(fields).encode()
    return await upstream.send(where, body, attempt_id="r1.1", timeouts=Timeouts(connect=2, total=20))


async def whole(upstream: LiteLLMUpstream, where: Target, fields: dict = ASK) -> dict:
    exchange = await ask(upstream, where, fields)
    body = await exchange.read()
    await exchange.close()
    assert exchange.status == 200, body
    return json.loads(body)


async def scanned(upstream: LiteLLMUpstream, where: Target, fields: dict = STREAM) -> tuple[list[bytes], StreamScanner]:
    """Every event that arrived, and what the gateway's own scanner makes of them."""
    exchange = await ask(upstream, where, fields)
    scanner = StreamScanner(drop_usage=False)
    events = []
    try:
        async for event in exchange.chunks():
            events.append(event)
            scanner.feed(event)
    finally:
        await exchange.close()
    return events, scanner


async def broken_off(upstream: LiteLLMUpstream, where: Target) -> tuple[list[bytes], GatewayError]:
    """What came of a stream that breaks, and the error that ended it."""
    exchange = await ask(upstream, where, STREAM)
    events = []
    try:
        async for event in exchange.chunks():
            events.append(event)
    except GatewayError as error:
        return events, error
    finally:
        await exchange.close()
    raise AssertionError(f"the stream did not break: {events}")


async def error_of(upstream: LiteLLMUpstream, where: Target, fields: dict = ASK) -> GatewayError:
    """The error that the proxy would make of it, as exchange.dispatch and its reader do."""
    try:
        exchange = await ask(upstream, where, fields)
        body = await exchange.read()
    except GatewayError as error:
        return error
    assert exchange.status != 200
    return where.dialect.error(exchange.status, exchange.headers, body)


# ── what reaches the wire ──


async def test_a_request_reaches_the_provider_as_it_was_with_our_key_and_attempt(upstream, wire):
    fields = {**ASK, "temperature": 0.2, "max_tokens": 7, "seed": 3, "stop": ["\n"]}
    await whole(upstream, target(wire.url), fields)
    ((method, headers, body),) = wire.asked
    assert method == "POST"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["x-gateway-attempt"] == "r1.1"
    assert body == {**fields, "model": "m"}


async def test_the_upstream_name_is_asked_for_whatever_the_body_says(upstream, wire):
    await whole(upstream, target(wire.url, model="org/their-name"), {**ASK, "model": "openai/gpt-6-sol"})
    assert wire.asked[0][2]["model"] == "org/their-name"


async def test_a_field_that_the_sdk_does_not_know_passes_into_the_body(upstream, wire):
    await whole(upstream, target(wire.url), {**ASK, "top_k": 40, "chat_template_kwargs": {"thinking": True}})
    body = wire.asked[0][2]
    assert body["top_k"] == 40
    assert body["chat_template_kwargs"] == {"thinking": True}


@pytest.mark.parametrize(
    "field",
    """
    api_base base_url api_key api_version user_config extra_headers headers extra_body callbacks success_callback
    mock_response mock_tool_calls mock_delay custom_llm_provider metadata litellm_metadata num_retries max_retries
    fallbacks timeout cache caching model_list drop_params allowed_openai_params organization vertex_credentials
    aws_bedrock_runtime_endpoint aws_secret_access_key azure_ad_token ssl_verify langfuse_host s3_endpoint_url
    litellm_logging_obj prompt_id input_cost_per_token _skip_mcp_handler no-log
    """.split(),
)
async def test_a_control_of_the_sdk_is_refused_by_name_and_nothing_is_sent(upstream, wire, field):
    error = await error_of(upstream, target(wire.url), {**ASK, field: wire.url})
    assert (error.blame, error.status, error.param) == (Blame.CALLER, 400, field)
    assert field in error.told
    assert wire.asked == []


async def test_tools_that_the_sdk_would_call_itself_are_refused(upstream, wire):
    fields = {**ASK, "tools": [{"type": "mcp", "server_url": "litellm_proxy"}]}
    error = await error_of(upstream, target(wire.url), fields)
    assert (error.status, error.param) == (400, "tools")
    assert wire.asked == []


async def test_several_choices_in_a_stream_are_refused_because_their_ends_would_be_lost(upstream, wire):
    error = await error_of(upstream, target(wire.url), {**STREAM, "n": 2})
    assert (error.status, error.param) == (400, "n")
    assert wire.asked == []


async def test_a_parameter_that_the_provider_lacks_is_named_not_dropped(upstream, wire):
    error = await error_of(upstream, target(wire.url, "anthropic"), {**ASK, "logit_bias": {"1": 2}})
    assert (error.blame, error.status, error.param) == (Blame.CALLER, 400, "logit_bias")
    assert error.retryable
    assert "drop_params" not in error.told
    assert wire.asked == []


async def test_without_a_key_no_other_providers_key_is_taken_from_the_environment(upstream, wire, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-someone-else")
    for name in ("openai", "hosted_vllm", "custom_openai"):
        await whole(upstream, target(wire.url, name, key=None))
    assert len(wire.asked) == 3
    assert not any("sk-of-someone-else" in str(headers) for _, headers, _ in wire.asked)


@pytest.mark.parametrize(
    ("name", "model"), [("hosted_vllm", "m"), ("openai", "m"), ("anthropic", "m"), ("gemini", "m")]
)
@pytest.mark.parametrize("fields", [ASK, STREAM], ids=["whole", "stream"])
async def test_a_redirect_is_not_followed(upstream, wire, name, model, fields):
    wire.answer = replies(307, b"", location=f"{wire.url}/other")
    error = await error_of(upstream, target(wire.url, name, model=model), fields)
    assert (error.blame, error.outcome) == (Blame.UPSTREAM, "http_502")
    assert len(wire.asked) == 1


@pytest.mark.parametrize("name", ["ollama", "gemini", "anthropic"])
async def test_a_url_within_a_prompt_is_never_fetched(upstream, wire, name):
    picture = {"type": "image_url", "image_url": {"url": f"{wire.url}/picture.png"}}
    fields = {**ASK, "messages": [{"role": "user", "content": [picture, {"type": "text", "text": "what is it?"}]}]}
    error = await error_of(upstream, target(wire.url, name), fields)
    assert error.status == 400
    assert not any(method == "GET" for method, _, _ in wire.asked)


async def test_no_url_is_fetched_even_from_a_public_address():
    from litellm.litellm_core_utils.url_utils import SSRFError, safe_get

    with pytest.raises(SSRFError, match="fetches no URLs"):
        safe_get(None, "https://203.0.113.7/picture.png")


# ── answers ──


@pytest.mark.parametrize("name", ["hosted_vllm", "openai"])
async def test_a_whole_answer_is_openais_and_holds_nothing_of_the_sdk(upstream, wire, name):
    assert await whole(upstream, target(wire.url, name)) == json.loads(WHOLE % USAGE)


@pytest.mark.parametrize("name", ["hosted_vllm", "openai"])
async def test_a_stream_is_openais_events_and_ends_in_done(upstream, wire, name):
    wire.answer = streams(ROLE, HEL, LO, STOP, BILL, b"data: [DONE]\n\n")
    events, scanner = await scanned(upstream, target(wire.url, name))
    sent = [json.loads(event.removeprefix(b"data: ")) for event in events[:-1]]
    assert [chunk["choices"][0]["delta"] for chunk in sent[:-1]] == [
        {"role": "assistant", "content": ""}, {"content": "Hel"}, {"content": "lo"}, {},
    ]  # fmt: skip
    assert [chunk["choices"][0]["finish_reason"] for chunk in sent[:-1]] == [None, None, None, "stop"]
    assert all(event.startswith(b"data: {") and event.endswith(b"}\n\n") for event in events[:-1])
    assert events[-1] == DONE
    assert scanner.complete
    assert scanner.done
    assert scanner.fault is None
    assert OpenAI().usage(scanner.usage_raw) == Usage(input=6, cached_input=3, output=3, reasoning=1)


async def test_an_answer_that_repeats_itself_is_not_cut(upstream, wire):
    wire.answer = streams(ROLE, *[HEL] * 150, STOP, BILL, DONE)
    events, scanner = await scanned(upstream, target(wire.url))
    assert b"".join(events).count(b'"Hel"') == 150
    assert scanner.complete


CALLS = (
    b'"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"find","arguments":"{\\"a\\":1}"}},'
    b'{"index":1,"id":"call_2","type":"function","function":{"name":"look","arguments":"{}"}}]'
)
TOOLS = [{"type": "function", "function": {"name": "find", "parameters": {"type": "object", "properties": {}}}}]


async def test_tool_calls_come_whole(upstream, wire):
    calls = CALLS.replace(b'"index":0,', b"").replace(b'"index":1,', b"")
    body = (WHOLE % USAGE).replace(b'"content":"Hello"', b'"content":null,' + calls).replace(b'"stop"', b'"tool_calls"')
    wire.answer = replies(200, body)
    answer = await whole(upstream, target(wire.url), {**ASK, "tools": TOOLS, "parallel_tool_calls": True})
    assert answer == json.loads(body)
    assert wire.asked[0][2]["tools"] == TOOLS
    assert wire.asked[0][2]["parallel_tool_calls"] is True


async def test_tool_calls_come_in_pieces_without_nulls_that_clients_would_add_up(upstream, wire):
    def piece(calls: bytes) -> bytes:
        return HEAD + b'{"index":0,"delta":{"tool_calls":[' + calls + b']},"finish_reason":null}]}\n\n'

    first = piece(b'{"index":0,"id":"call_1","type":"function","function":{"name":"find","arguments":""}}')
    more = piece(b'{"index":0,"function":{"arguments":"{\\"a\\":1}"}}')
    second = piece(b'{"index":1,"id":"call_2","type":"function","function":{"name":"look","arguments":"{}"}}')
    wire.answer = streams(ROLE, first, more, second, STOP.replace(b'"stop"', b'"tool_calls"'), BILL, DONE)
    events, scanner = await scanned(upstream, target(wire.url), {**STREAM, "tools": TOOLS})
    pieces = [
        json.loads(event[6:])["choices"][0]["delta"]["tool_calls"] for event in events if b'"tool_calls":' in event
    ]
    assert [(call["index"], call.get("id"), call["function"]) for calls in pieces for call in calls] == [
        (0, "call_1", {"name": "find", "arguments": ""}),
        (0, None, {"arguments": '{"a":1}'}),
        (1, "call_2", {"name": "look", "arguments": "{}"}),
    ]
    assert not any(b'"id":null' in event or b'"name":null' in event for event in events)
    assert scanner.finish_reason == "tool_calls"
    assert scanner.complete


# ── what the SDK makes up ──


async def test_usage_that_was_not_reported_is_not_made_up_in_a_whole_answer(upstream, wire):
    wire.answer = replies(200, (WHOLE % USAGE).replace(b',"usage":' + USAGE, b""))
    for name in ("hosted_vllm", "openai"):
        assert "usage" not in await whole(upstream, target(wire.url, name))


async def test_usage_that_was_not_reported_is_not_made_up_in_a_stream(upstream, wire):
    wire.answer = streams(ROLE, HEL, LO, STOP, DONE)
    for name in ("hosted_vllm", "openai"):
        events, scanner = await scanned(upstream, target(wire.url, name))
        assert not any(b"usage" in event for event in events)
        assert scanner.complete
        assert events[-1] == DONE


async def test_reasoning_tokens_are_not_guessed_from_the_text(upstream, wire):
    thought = HEAD + b'{"index":0,"delta":{"reasoning_content":"let me think about it"},"finish_reason":null}]}\n\n'
    bill = BILL.replace(b',"completion_tokens_details":{"reasoning_tokens":1}', b"")
    wire.answer = streams(ROLE, thought, HEL, STOP, bill, DONE)
    _, scanner = await scanned(upstream, target(wire.url))
    assert OpenAI().usage(scanner.usage_raw) == Usage(input=6, cached_input=3, output=4)


async def test_usage_in_the_finish_chunk_is_kept(upstream, wire):
    wire.answer = streams(ROLE, HEL, STOP.replace(b'"stop"}]}', b'"stop"}],"usage":' + USAGE + b"}"), DONE)
    _, scanner = await scanned(upstream, target(wire.url))
    assert OpenAI().usage(scanner.usage_raw) == Usage(input=6, cached_input=3, output=3, reasoning=1)


@pytest.mark.parametrize("name", ["hosted_vllm", "openai"])
async def test_a_stream_that_ends_without_a_finish_reason_is_truncated_and_has_no_done(upstream, wire, name):
    wire.answer = streams(ROLE, HEL, LO)
    events, error = await broken_off(upstream, target(wire.url, name))
    assert error.outcome == "truncated"
    assert DONE not in events
    assert not any(b'"finish_reason":"' in event for event in events)


# ── faults ──


@pytest.mark.parametrize("fields", [ASK, STREAM], ids=["whole", "stream"])
@pytest.mark.parametrize("name", ["hosted_vllm", "openai", "anthropic"])
@pytest.mark.parametrize(
    ("status", "outcome", "blame"),
    [
        (400, "http_400", Blame.CALLER),
        (401, "http_401", Blame.OPERATOR),
        (404, "http_404", Blame.OPERATOR),
        (422, "http_422", Blame.CALLER),
        (429, "http_429", Blame.UPSTREAM),
        (500, "http_500", Blame.UPSTREAM),
        (503, "http_503", Blame.UPSTREAM),
        (529, "http_529", Blame.UPSTREAM),
    ],
)
async def test_an_error_reply_keeps_its_status_after_exactly_one_request(
    upstream, wire, name, fields, status, outcome, blame
):
    wire.answer = replies(status, NOPE)
    error = await error_of(upstream, target(wire.url, name), fields)
    assert (error.outcome, error.blame) == (outcome, blame)
    assert len(wire.asked) == 1
    assert KEY not in error.told + error.noted + str(error)


async def test_a_callers_mistake_is_told_in_the_providers_words_without_our_key(upstream, wire):
    wire.answer = replies(400, NOPE)
    error = await error_of(upstream, target(wire.url))
    assert (error.told, error.type, error.param, error.code) == ("nope, [key]", "t", "p", "c")


async def test_the_providers_request_to_wait_is_kept(upstream, wire):
    wire.answer = replies(429, NOPE, retry_after="7")
    for name in ("hosted_vllm", "openai", "anthropic"):
        for fields in (ASK, STREAM):
            error = await error_of(upstream, target(wire.url, name), fields)
            assert (error.status, error.retry_after_s) == (429, 7.0)


async def test_an_error_page_is_not_handed_on(upstream, wire):
    wire.answer = replies(502, b"<html>" + KEY.encode() + b"</html>")
    exchange = await ask(upstream, target(wire.url), ASK)
    assert exchange.status == 502
    assert json.loads(await exchange.read())["error"]["message"] == "elsewhere answered 502"


@pytest.mark.parametrize("name", ["hosted_vllm", "openai", "anthropic"])
@pytest.mark.parametrize("fields", [ASK, STREAM], ids=["whole", "stream"])
async def test_a_refused_connection_is_unreachable(upstream, name, fields):
    error = await error_of(upstream, target("http://127.0.0.1:1/v1", name), fields)
    assert (error.blame, error.outcome, error.retryable) == (Blame.UPSTREAM, "unreachable", True)


@pytest.mark.parametrize("name", ["hosted_vllm", "openai"])
async def test_a_connection_lost_before_a_reply_is_worth_one_more_try(upstream, wire, name):
    wire.answer = drops
    error = await error_of(upstream, target(wire.url, name))
    assert (error.outcome, error.retryable, error.repeatable) == ("disconnected", True, True)
    assert len(wire.asked) == 1


@pytest.mark.parametrize("name", ["hosted_vllm", "openai"])
async def test_a_cut_stream_raises_and_has_no_done(upstream, wire, name):
    wire.answer = streams(ROLE, HEL, then="abort")
    events, error = await broken_off(upstream, target(wire.url, name))
    assert (error.outcome, error.repeatable) == ("disconnected", False)
    assert any(b"Hel" in event for event in events)
    assert DONE not in events


@pytest.mark.parametrize("name", ["hosted_vllm", "openai", "groq"])
@pytest.mark.parametrize(("before", "content"), [((), False), ((ROLE,), False), ((ROLE, HEL), True)])
async def test_an_error_event_is_passed_on_as_one(upstream, wire, name, before, content):
    wire.answer = streams(*before, b'data: {"error":{"message":"boom","type":"server_error","code":null}}\n\n')
    events, scanner = await scanned(upstream, target(wire.url, name))
    assert scanner.fault == "an in-band error"
    assert scanner.content is content
    assert DONE not in events


async def test_a_reply_that_is_no_completion_is_malformed(upstream, wire):
    wire.answer = replies(200, b"<html>busy</html>")
    for name in ("hosted_vllm", "openai"):
        error = await error_of(upstream, target(wire.url, name))
        assert (error.blame, error.outcome, error.retryable) == (Blame.UPSTREAM, "malformed", True)


async def test_an_event_that_is_not_json_does_not_pass(upstream, wire):
    wire.answer = streams(ROLE, HEL, b"data: {nope\n\n")
    for name in ("hosted_vllm", "openai"):
        events, error = await broken_off(upstream, target(wire.url, name))
        assert error.outcome in ("malformed", "truncated")
        assert DONE not in events


@pytest.mark.parametrize("answer", [replies(400, NOPE), replies(500, NOPE), replies(200, b"<html>"), drops])
async def test_neither_prompt_nor_key_reaches_a_log_or_the_terminal(upstream, wire, caplog, capfd, answer):
    wire.answer = answer
    with caplog.at_level(logging.DEBUG):
        for name in ("hosted_vllm", "openai"):
            for fields in (ASK, STREAM):
                await error_of(upstream, target(wire.url, name), fields)
    printed = capfd.readouterr()
    everything = caplog.text + printed.out + printed.err
    assert KEY not in everything
    assert PROMPT not in everything


# ── closing ──


def endless(left: asyncio.Event) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        try:
            while True:
                await response.write(HEL)
                await asyncio.sleep(0.01)
        except (ConnectionError, asyncio.CancelledError):
            left.set()
            raise

    return answer


@pytest.mark.parametrize("name", ["hosted_vllm", "openai"])
async def test_closing_an_unfinished_stream_cuts_it_off(upstream, wire, name):
    left = asyncio.Event()
    wire.answer = endless(left)
    exchange = await ask(upstream, target(wire.url, name), STREAM)
    await anext(exchange.chunks())
    await exchange.close()
    await exchange.close()
    await asyncio.wait_for(left.wait(), 1)


async def test_a_stream_is_cut_off_even_when_its_closing_is_cancelled(upstream, wire):
    left = asyncio.Event()
    wire.answer = endless(left)
    exchange = await ask(upstream, target(wire.url), STREAM)
    await anext(exchange.chunks())
    closing = asyncio.create_task(exchange.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    await asyncio.wait_for(left.wait(), 1)


@pytest.mark.parametrize("fields", [ASK, STREAM], ids=["whole", "stream"])
async def test_giving_up_on_a_silent_provider_cuts_the_request_off(upstream, wire, fields):
    left = asyncio.Event()

    async def silent(request: web.Request) -> web.StreamResponse:
        try:
            await asyncio.sleep(60)
        finally:
            left.set()
        return web.Response()

    await whole(upstream, target(wire.url))
    wire.answer = silent
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await ask(upstream, target(wire.url), fields)
    await asyncio.wait_for(left.wait(), 1)


async def test_another_upstream_works_after_one_was_closed(upstream, wire):
    first = LiteLLMUpstream()
    for name in ("hosted_vllm", "openai"):
        await whole(first, target(wire.url, name))
    await first.close()
    for name in ("hosted_vllm", "openai"):
        await whole(upstream, target(wire.url, name))


# ── a wire of its own: Anthropic's, which the SDK translates ──

CLAUDE_WHOLE = (
    b'{"id":"m1","type":"message","role":"assistant","model":"c","content":[{"type":"text","text":"Hello"}],'
    b'"stop_reason":"end_turn","usage":{"input_tokens":5,"cache_read_input_tokens":3,"cache_creation_input_tokens":2,'
    b'"output_tokens":4}}'
)
CLAUDE_START = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"m1","type":"message","role":"assistant",'
    b'"model":"c","content":[],"stop_reason":null,"usage":{"input_tokens":5,"cache_read_input_tokens":3,'
    b'"cache_creation_input_tokens":2,"output_tokens":1}}}\n\n'
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"text",'
    b'"text":""}}\n\n'
)
CLAUDE_TEXT = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta",'
    b'"text":"Hello"}}\n\n'
)
CLAUDE_STOP = (
    b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},'
    b'"usage":{"output_tokens":4}}\n\n'
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
)
CLAUDE_COST = Usage(input=5, cached_input=3, cache_write=2, output=4)


async def test_anthropics_whole_answer_is_openais_with_disjoint_usage(upstream, wire):
    wire.answer = replies(200, CLAUDE_WHOLE)
    answer = await whole(upstream, target(wire.url, "anthropic"))
    assert answer["choices"] == [
        {"index": 0, "finish_reason": "stop", "logprobs": None,
         "message": {"role": "assistant", "content": "Hello", "refusal": None}},
    ]  # fmt: skip
    assert OpenAI().usage(json.dumps(answer["usage"]).encode()) == CLAUDE_COST


async def test_anthropics_stream_is_openais_with_disjoint_usage(upstream, wire):
    wire.answer = streams(CLAUDE_START, CLAUDE_TEXT, CLAUDE_STOP)
    events, scanner = await scanned(upstream, target(wire.url, "anthropic"))
    assert scanner.complete
    assert scanner.finish_reason == "stop"
    assert events[-1] == DONE
    assert OpenAI().usage(scanner.usage_raw) == CLAUDE_COST


async def test_anthropics_stream_without_its_end_is_truncated(upstream, wire):
    wire.answer = streams(CLAUDE_START, CLAUDE_TEXT)
    events, error = await broken_off(upstream, target(wire.url, "anthropic"))
    assert error.outcome == "truncated"
    assert DONE not in events


async def test_anthropics_error_event_is_passed_on_as_one(upstream, wire):
    overloaded = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
    wire.answer = streams(CLAUDE_START, CLAUDE_TEXT, overloaded)
    _, scanner = await scanned(upstream, target(wire.url, "anthropic"))
    assert scanner.fault == "an in-band error"


async def test_geminis_refusal_of_a_stream_comes_with_its_status(upstream, wire):
    """Its stream is opened lazily by the SDK; it is opened in `send`, so that the status is not lost."""
    wire.answer = replies(
        429, b'{"error":{"code":429,"message":"quota","status":"RESOURCE_EXHAUSTED"}}', retry_after="3"
    )
    error = await error_of(upstream, target(wire.url, "gemini"), STREAM)
    assert (error.outcome, error.retry_after_s) == ("http_429", 3.0)
    assert len(wire.asked) == 1


async def test_known_limit_a_gemini_stream_that_ends_early_in_good_order_seems_finished(upstream, wire):
    """When this fails, the SDK has learnt to tell: take the limit out of litellm_answer's docstring."""
    wire.answer = streams(
        b'data: {"candidates":[{"content":{"parts":[{"text":"Hel"}],"role":"model"},"index":0}],'
        b'"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":2,"totalTokenCount":6}}\n\n'
    )
    _, scanner = await scanned(upstream, target(wire.url, "gemini"))
    assert scanner.complete


# ── laziness ──


def in_a_process(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def test_importing_the_room_does_not_import_litellm():
    ran = in_a_process(
        "import sys, gateway.proxy.litellm_upstream as room; room.LiteLLMUpstream()\n"
        "heavy = {'litellm', 'openai', 'httpx', 'boto3', 'tokenizers'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    assert ran.returncode == 0, ran.stderr


def test_the_sdk_is_loaded_quiet_and_offline_and_never_its_proxy(tmp_path):
    (tmp_path / ".env").write_text("ANTHROPIC_API_KEY=from-a-file\n")
    ran = in_a_process(
        f"import os, sys; os.chdir({str(tmp_path)!r}); os.environ['LITELLM_LOG'] = 'DEBUG'\n"
        "import socket; socket.socket.connect = None\n"
        "from gateway.proxy.litellm_upstream import _load\n"
        "_load()\n"
        "import litellm\n"
        "assert not [name for name in sys.modules if name.startswith('litellm.proxy')]\n"
        "assert 'ANTHROPIC_API_KEY' not in os.environ\n"
        "assert litellm.callbacks == litellm.success_callback == litellm.failure_callback == []\n"
        "assert litellm.drop_params is False and litellm.num_retries is None and litellm.cache is None\n"
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == ""


async def test_no_request_starts_litellms_proxy(upstream, wire):
    """The SDK itself takes types and small helpers from `litellm.proxy`; its server must not be among them."""
    await whole(upstream, target(wire.url))
    wire.answer = replies(500, NOPE)
    await error_of(upstream, target(wire.url))
    assert not {"litellm.proxy.proxy_server", "litellm.proxy.utils", "prisma"} & set(sys.modules)


def test_a_litellm_that_cannot_be_imported_is_the_operators_matter():
    ran = in_a_process(
        "import sys; sys.modules['litellm'] = None\n"
        "import asyncio\n"
        "from gateway.core.errors import Blame, GatewayError\n"
        "from gateway.proxy.litellm_upstream import _loaded\n"
        "try:\n"
        "    asyncio.run(_loaded('elsewhere'))\n"
        "except GatewayError as error:\n"
        "    assert error.blame is Blame.OPERATOR and error.outcome == 'unreachable' and error.retryable\n"
        "else:\n"
        "    raise SystemExit(1)\n"
    )
    assert ran.returncode == 0, ran.stderr
