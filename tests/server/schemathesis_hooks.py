"""Leads schemathesis past what would end nearly all of its requests early, or make them long."""

import json
import zlib

import schemathesis

from server import MODEL

LIMITS = {"max_tokens": 8, "max_completion_tokens": 8, "n": 2}
# Known by name only, so that most values are refused: they are left out of most requests.
REFUSED = {
    "dimensions",
    "logit_bias",
    "modalities",
    "parallel_tool_calls",
    "service_tier",
    "store",
    "stream_options",
    "suffix",
    "tool_choice",
    "tools",
    "top_logprobs",
}
REFUSED_IN_MESSAGES = {"name", "refusal", "tool_call_id", "tool_calls"}


@schemathesis.hook
def before_call(context, case, kwargs):
    if not isinstance(case.body, dict):
        return
    body = case.body = dict(case.body)
    # Other names are answered with 404 before anything else is looked at.
    if isinstance(body.get("model"), str):
        body["model"] = MODEL
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return  # what is wrong with it must stay
    for name, limit in LIMITS.items():
        if isinstance(body.get(name), int):
            body[name] = min(body[name], limit)
    if zlib.crc32(json.dumps(body, default=str).encode()) % 4 == 0:
        return
    for name in REFUSED:
        body.pop(name, None)
    for message in body.get("messages", []):
        for name in REFUSED_IN_MESSAGES:
            message.pop(name, None)
        message["content"] = message.get("content") or "Hello"

