"""The faults that the proxy itself finds in a provider's behaviour, as errors with their blame. Causes, not bytes."""

from __future__ import annotations

from gateway.core.answer import malformed
from gateway.core.errors import Blame, GatewayError
from gateway.core.sse import StreamScanner


def unreachable(provider: str, why: str) -> GatewayError:
    """No connection, so nothing was asked and nothing is billed."""
    return GatewayError(
        Blame.UPSTREAM, 502, told=f"{provider} could not be reached", noted=f"{provider}: {why}", retry=True,
        outcome="unreachable",
    )  # fmt: skip


def lost(provider: str, why: str, *, repeatable: bool) -> GatewayError:
    """The connection broke. repeatable: before any byte of a reply, so the same target may be tried once more."""
    return GatewayError(
        Blame.UPSTREAM, 502, told=f"{provider} broke off its reply", noted=f"{provider}: {why}", retry=True,
        repeatable=repeatable, outcome="disconnected",
    )  # fmt: skip


MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""The most of one answer that is kept in memory."""


def oversized(provider: str) -> GatewayError:
    return lost(provider, f"an answer of more than {MAX_ANSWER_BYTES} bytes", repeatable=False)


def silent(provider: str, attempt_id: str) -> GatewayError:
    return GatewayError(
        Blame.UPSTREAM, 504, told=f"{provider} did not answer in time", retry=True, silent=True, outcome="timeout",
        noted=f"{provider} stalled on {attempt_id}",
    )  # fmt: skip


def truncated(provider: str) -> GatewayError:
    return GatewayError(
        Blame.UPSTREAM, 502, told=f"{provider} cut its answer short", retry=True, outcome="truncated",
        noted=f"{provider}: the stream ended without a finish reason",
    )  # fmt: skip


def broken_stream(scanner: StreamScanner, provider: str) -> GatewayError:
    """What the scanner found. An error before any content costs nothing; after it the provider may bill."""
    if scanner.error_raw:
        return GatewayError(
            Blame.UPSTREAM, 502, told=f"{provider} reported an error within its answer", retry=True,
            outcome="cut_by_error" if scanner.content else "in_band_error",
        )  # fmt: skip
    return malformed(f"{provider}: {scanner.fault}")


def client_stalled() -> GatewayError:
    return GatewayError(Blame.CALLER, 408, told="the client stopped reading the stream", outcome="client_stalled")


def over_time() -> GatewayError:
    told = "the request took longer than its route allows (timeouts.total_s in routes.yaml)"
    return GatewayError(Blame.GATEWAY, 504, told=told, outcome="timeout")


def concerns_all(error: GatewayError) -> bool:
    """Whether every equal request would have met this error: it is the provider's, not one of this request's own."""
    return (
        error.blame is Blame.UPSTREAM or error.outcome.startswith("http_") or error.code == "no_healthy_candidate"
    )  # fmt: skip


def not_cached(reason: str) -> GatewayError:
    why = f" ({reason})" if reason else ""
    told = f"no kept answer may be replayed for this request{why}, and 'only-if-cached' asks for nothing else"
    return GatewayError(Blame.CALLER, 504, told=told, code="not_cached", param="cache-control", outcome="not_cached")


def call_lost() -> GatewayError:
    told = "the call behind this stream was lost, and its answer could not be had again; ask once more"
    return GatewayError(Blame.GATEWAY, 502, told=told, code="call_lost", outcome="call_lost")


def where(exc: BaseException | None) -> str:
    """The kind and place of an exception, without its text, which might hold a prompt."""
    trace = None if exc is None else exc.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "" if trace is None else f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
    return f"{type(exc).__name__}{place}"
