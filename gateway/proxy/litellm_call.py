"""What of a request's body litellm's SDK is given: an allow-list, for it takes its own controls by keyword too.

Pure. A field of OpenAI's API goes in as a keyword argument. Any other goes into `extra_body`, which the SDK adds to the
provider's body without reading it; unless the SDK knows the name as a control of its own (where to connect, with which
key, what to call back, what to mock): that is refused with a 400 that names it, never dropped in silence. The names are
those written here, and all that the installed version declares.

Known limit: where a provider's API has no `user` field, the SDK drops that one (only) without a word.

The rule a newcomer would break: nothing a client sends becomes a keyword argument by default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.core.errors import Blame, GatewayError

PASSED = frozenset(
    """
    audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens messages
    modalities n parallel_tool_calls prediction presence_penalty prompt_cache_key prompt_cache_retention
    reasoning_effort response_format safety_identifier seed service_tier stop store stream stream_options temperature
    thinking tool_choice tools top_logprobs top_p user verbosity web_search_options
    """.split()
)
"""Fields of a chat completion that the SDK translates for each provider (`thinking` is Anthropic's, known to it)."""

# Named here although the SDK declares most of them: a release that forgets one must not open it.
_CONTROLS = frozenset(
    """
    additional_drop_params allowed_openai_params api_base api_key api_type api_version base_url cache caching callbacks
    client config context_window_fallback_dict custom_llm_provider custom_prompt_dict default_headers deployment_id
    drop_params extra_body extra_headers extra_query failure_callback fallbacks guardrails headers input_callback
    logger_fn max_retries metadata model_info model_list num_retries organization proxy_server_request request_timeout
    retry_policy shared_session ssl_verify stream_timeout success_callback timeout user_config
    """.split()
)
_CONTROL_PREFIXES = ("_", "aws_", "azure_", "langfuse_", "litellm_", "mock_", "oci_", "s3_", "vertex_", "watsonx_")

# Any: a request's fields are whatever JSON the caller wrote; the SDK checks them.
_body = msgspec.json.Decoder(dict[str, Any])


def arguments(body: bytes, *, provider: str, controls: frozenset[str]) -> dict[str, Any]:
    """Keyword arguments for `litellm.acompletion`, without model, key and address.

    controls: what the installed SDK declares as its own. Raises GatewayError (400, the caller's; another candidate that
    is not reached through litellm may serve the request).
    """
    fields = _body.decode(body)
    del fields["model"]  # the upstream model is named by the configuration
    _refuse_what_the_sdk_would_misread(fields, provider)
    passed: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in fields.items():
        if name in PASSED:
            passed[name] = value
        elif name in _CONTROLS or name in controls or name.startswith(_CONTROL_PREFIXES):
            raise refused(provider, name, "it is a control of its client library")
        else:
            extra[name] = value
    if extra:
        passed["extra_body"] = extra
    return passed


def refused(provider: str, field: str | None, why: str) -> GatewayError:
    """A request that the SDK cannot carry. Nothing was sent, so nothing was billed."""
    what = f"the field {field!r}" if field is not None else "this request"
    return GatewayError(
        Blame.CALLER, 400, told=f"{provider} cannot be given {what}: {why}", noted=f"{provider}: litellm was not asked",
        param=field, code="unsupported_parameter", retry=True, outcome="not_sent",
    )  # fmt: skip


def _refuse_what_the_sdk_would_misread(fields: Mapping[str, Any], provider: str) -> None:
    # The SDK's stream keeps the finish reason of one choice only, so the others would seem cut off.
    if fields.get("stream") and (fields.get("n") or 1) > 1:
        raise refused(provider, "n", "with 'stream', only one choice can be carried")
    # Some of these make the SDK call tools itself, through its proxy.
    if any(isinstance(tool, dict) and tool.get("type") == "mcp" for tool in fields.get("tools") or ()):
        raise refused(provider, "tools", "tools of type 'mcp' are not carried")
