"""Errors that carry blame, a verdict on retrying, and two texts.

`told` goes to the caller and may name routes and models; `noted` goes to the operator's log.
Neither ever holds a key or a prompt. An error becomes bytes in one place: `body()`.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What reading foreign JSON may raise: not JSON or of another shape, not UTF-8, nested too deep."""


class Blame(StrEnum):
    CALLER = "caller"
    OPERATOR = "operator"
    UPSTREAM = "upstream"
    GATEWAY = "gateway"


class GatewayError(Exception):
    """One failed request or attempt.

    status: the HTTP status for the caller; retry: another candidate may succeed;
    retry_after_s: what the provider asked for, in seconds; trips_provider: every model of the provider is affected
    (bad credentials, no balance); repeatable: the connection broke before a reply began, so the same target may be
    tried once more; silent: the provider let a deadline pass; too_long: the request is longer than the model takes, so
    one that takes more may answer.
    """

    def __init__(
        self,
        blame: Blame,
        status: int,
        *,
        told: str,
        noted: str = "",
        type: str | None = None,
        code: str | None = None,
        param: str | None = None,
        retry: bool = False,
        retry_after_s: float | None = None,
        trips_provider: bool = False,
        repeatable: bool = False,
        silent: bool = False,
        too_long: bool = False,
        outcome: str = "error",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(noted or told)
        self.blame = blame
        self.status = status
        self.told = told
        self.noted = noted or told
        self.type = type or _default_type(status)
        self.code = code
        self.param = param
        self.retryable = retry
        self.retry_after_s = retry_after_s
        self.trips_provider = trips_provider
        self.repeatable = repeatable
        self.silent = silent
        self.too_long = too_long
        self.outcome = outcome
        self.headers = headers
        self.attempts = 0
        """How many attempts of the request were made, and booked, before it came to this."""

    def body(self) -> bytes:
        """OpenAI's error object, all four keys present."""
        return error_body(self.told, type=self.type, param=self.param, code=self.code)


def error_body(message: str, *, type: str, param: str | None = None, code: str | None = None) -> bytes:
    return msgspec.json.encode({"error": {"message": message, "type": type, "param": param, "code": code}})


def _default_type(status: int) -> str:
    # The vocabulary of OpenAI's API, so that clients' own handling applies.
    if status == 401:
        return "authentication_error"
    if status == 403:
        return "permission_error"
    if status == 429:
        return "rate_limit_error"
    return "invalid_request_error" if status < 500 else "api_error"
