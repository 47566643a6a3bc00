"""How real embedding servers write their answers and refusals: one row a server, as their users have reported it."""

from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.servers.embeddings import Behaviour, WeightSwapper, vector

Rows = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Refusal:
    """A status and the body of a refusal; ``{most}``, ``{got}``, ``{limit}`` and ``{asked}`` in it are filled in."""

    status: int
    body: Any

    def filled(self, **numbers: int) -> bytes:
        """Return the body with its numbers."""
        text = json.dumps(self.body)
        return re.sub(r"\{(most|got|limit|asked)\}", lambda found: str(numbers[found[1]]), text).encode()


@dataclass(frozen=True)
class Form:
    """One server's forms: its answer, what it says to too many texts and to a text that is too long."""

    answer: Callable[[Rows], Any]
    many: Refusal | None = None
    long: Refusal | None = None
    kind: str = "openai"


def tokens(text: str) -> int:
    """Return how many tokens the servers count: three digits or one sign each, and the two around a text."""
    return len(re.findall(r"\d{1,3}|\S", text)) + 2


def limited(form: Form, *, most_texts: int = 10**9, most_tokens: int = 10**9) -> Behaviour:
    """Answer in a server's form within its limits, and refuse in its form beyond them."""

    def answer(swapper: WeightSwapper) -> None:
        texts = swapper.request.texts
        longest = max(map(tokens, texts))
        if form.many and len(texts) > most_texts:
            swapper.send(form.many.filled(most=most_texts, got=len(texts)), form.many.status)
        elif form.long and longest > most_tokens:
            swapper.send(form.long.filled(limit=most_tokens, asked=longest), form.long.status)
        else:
            swapper.send(json.dumps(form.answer([vector(text) for text in texts])).encode())

    return answer


def _data(rows: Rows, indices: Sequence[int | None], **more: Any) -> Any:
    numbered = [{} if index is None else {"index": index} for index in indices]
    data = [{"object": "embedding", "embedding": row} | index for row, index in zip(rows, numbered, strict=True)]
    return {"object": "list", "data": data, "model": "small", "usage": None} | more


def _openai(rows: Rows) -> Any:
    return _data(rows, range(len(rows)), usage={"prompt_tokens": 8, "total_tokens": 8})


def _without_index(rows: Rows) -> Any:
    return _data(rows, [None] * len(rows))


def _without_first_index(rows: Rows) -> Any:
    return _data(rows, [None, *range(1, len(rows))])


def _base64(rows: Rows) -> Any:
    coded: Any = [base64.b64encode(struct.pack(f"<{len(row)}f", *row)).decode() for row in rows]
    return _data(coded, range(len(rows)))


def _error(message: str, **more: Any) -> Any:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None} | more}


_OPENAI_LONG = (
    "This model's maximum context length is {limit} tokens, however you requested {asked} tokens "
    "({asked} in your prompt; 0 for the completion). Please reduce your prompt; or completion length."
)
_VLLM_LONG = (
    "This model's maximum context length is {limit} tokens. However, you requested {asked} tokens in the input for "
    "embedding generation. Please reduce the length of the input."
)
_DASHSCOPE = "<400> InternalError.Algo.InvalidParameter: "
FORMS = {
    "OpenAI": Form(
        _openai,
        Refusal(400, _error("Invalid 'input': array too long. Expected an array with maximum length {most}.")),
        Refusal(400, _error(_OPENAI_LONG)),
    ),
    "vLLM": Form(_openai, None, Refusal(400, {"object": "error", "message": _VLLM_LONG, "type": "BadRequestError"})),
    "vLLM's pooling": Form(
        _openai,
        None,
        Refusal(
            400,
            _error(
                "The decoder prompt (length {asked}) is longer than the maximum model length of {limit}. Make sure "
                "that `max_model_len` is no smaller than the number of text tokens.",
                code=400,
            ),
        ),
    ),
    "TEI": Form(
        list,
        Refusal(422, {"error": "batch size {got} > maximum allowed batch size {most}", "error_type": "Validation"}),
        Refusal(
            413, {"error": "`inputs` must have less than {limit} tokens. Given: {asked}", "error_type": "Validation"}
        ),
        kind="tei",
    ),
    "Gemini": Form(
        _without_first_index,
        Refusal(
            400,
            [_error("* BatchEmbedContentsRequest.requests: at most {most} requests can be in one batch\n", code=400)],
        ),
    ),
    "llama.cpp": Form(
        _openai,
        None,
        Refusal(
            500,
            _error(
                "input ({asked} tokens) is too large to process. increase the physical batch size "
                "(current batch size: {limit})",
                type="server_error",
            ),
        ),
    ),
    "LiteLLM": Form(
        _base64,
        Refusal(400, _error("litellm.BadRequestError: OpenAIException - Too many inputs. The max is {most}.")),
        Refusal(400, _error(f"litellm.ContextWindowExceededError: OpenAIException - {_OPENAI_LONG}", code="400")),
    ),
    "Ollama": Form(
        _openai, None, Refusal(400, _error("the input length exceeds the context length", type="api_error"))
    ),
    "Cohere": Form(
        _openai,
        Refusal(400, {"message": "invalid request: total number of texts must be at most {most} - received {got}"}),
    ),
    "DashScope": Form(
        _openai,
        Refusal(400, _error(f"{_DASHSCOPE}Value error, batch size is invalid, it should not be larger than {{most}}.")),
        Refusal(400, _error(f"{_DASHSCOPE}Range of input length should be [1, {{limit}}]")),
    ),
    "SiliconFlow": Form(
        _without_index,
        None,
        Refusal(413, {"code": 20042, "message": "input must have less than {limit} tokens", "data": None}),
    ),
    "Mistral": Form(
        _openai,
        Refusal(400, {"object": "error", "message": "Too many tokens overall, split into more batches."}),
        Refusal(400, {"object": "error", "message": "Input id 0 has {asked} tokens, exceeding max {limit} tokens."}),
    ),
    "FastAPI": Form(
        _without_index,
        Refusal(
            422,
            {
                "detail": [
                    {"type": "too_long", "loc": ["body", "input"], "msg": "List should have at most {most} items"}
                ]
            },
        ),
        Refusal(422, {"detail": "Input text exceeds maximum length of {limit} tokens."}),
    ),
    "a gateway that always says 200": Form(
        _openai,
        Refusal(200, _error("at most {most} inputs per request")),
        Refusal(200, _error("Input exceeds the context window of this model.", code=400)),
    ),
    "a server without words": Form(_openai, Refusal(413, None), Refusal(413, None)),
}
