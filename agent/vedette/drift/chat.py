"""Read what language models were asked and answered, without keeping a word of it.

Lines with a request and a response of OpenAI's API (``messages`` or ``prompt``; ``choices`` and
``usage``), each in a member of its own (``request``/``response``, as proxies log them) or mixed in
one object (LiteLLM's, a bare response). Kept are numbers and a few words from fixed sets: tokens by
``usage``, lengths in characters, the reason it ended, the script most letters are of, and whether
the answer looks like a refusal. The script is no language: it tells Cyrillic from Latin, not French
from English. Refusals are told by a few English phrases at the beginning; that many are missed does
not matter to drift, what matters is that the share of those found moves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from vedette.drift.rows import Row

__all__ = ["chat_row", "is_chat", "refusal_of", "script_of"]

#: Letters that are looked at for the script, and of an answer for a refusal.
LOOK, BEGINNING = 2_000, 300
#: First and last letter of each script that is told.
_SCRIPTS = (
    ("latin", 0x41, 0x24F),
    ("greek", 0x370, 0x3FF),
    ("cyrillic", 0x400, 0x52F),
    ("hebrew", 0x590, 0x5FF),
    ("arabic", 0x600, 0x77F),
    ("devanagari", 0x900, 0x97F),
    ("thai", 0xE00, 0xE7F),
    ("kana", 0x3040, 0x30FF),
    ("han", 0x3400, 0x9FFF),
    ("hangul", 0xAC00, 0xD7AF),
)
_REFUSALS = (
    ("policy", re.compile(r"\bas an ai\b|\b(?:policy|policies|guidelines)\b", re.IGNORECASE)),
    (
        "unable",
        re.compile(r"\bi(?:'m| am|’m) (?:unable|not able)|\bi can(?:not|'t|’t)\b", re.IGNORECASE),
    ),
    ("unwilling", re.compile(r"\bi (?:won't|won’t|will not|must decline)\b", re.IGNORECASE)),
    (
        "apology",
        re.compile(
            r"^\W*(?:i(?:'m| am|’m) )?(?:very |so )?sorry\b|^\W*i apologi[sz]e", re.IGNORECASE
        ),
    ),
)
_NUMBERS = ("temperature", "top_p", "max_tokens", "n")


def is_chat(line: Mapping[str, Any]) -> bool:
    """Say whether a line is of a language model."""
    if isinstance(line.get("messages"), list) or isinstance(line.get("choices"), list):
        return True
    request, response = line.get("request"), line.get("response")
    return any(isinstance(one, dict) and is_chat(one) for one in (request, response))


def chat_row(line: Mapping[str, Any]) -> Row | None:
    """Return what is kept of a line; None when it has neither request nor response."""
    request = _part(line, "request")
    response = _part(line, "response")
    prompt, completion = list(_prompt(request)), list(_completion(response))
    used = next(
        (one for one in (response.get("usage"), line.get("usage")) if isinstance(one, dict)), line
    )
    fields: dict[str, Any] = {
        "prompt.tokens": _number(used, "prompt_tokens", "input_tokens"),
        "completion.tokens": _number(used, "completion_tokens", "output_tokens"),
    }
    fields.update({name: _number(request, name) for name in _NUMBERS if name in request})
    if prompt:
        text = "\n".join(prompt)
        fields["prompt.length"], fields["prompt.script"] = len(text), script_of(text)
    messages = request.get("messages")
    if isinstance(messages, list):
        fields["prompt.messages"] = len(messages)
    tools = request.get("tools")
    fields["prompt.tools"] = len(tools) if isinstance(tools, list) else 0
    choices = response.get("choices")
    if isinstance(choices, list):
        text = "\n".join(completion)
        fields["completion.length"] = len(text)
        fields["completion.script"] = script_of(text)
        fields["refusal"] = refusal_of(text)
        fields["finish_reason"] = _reason(choices)
    model = request.get("model") or response.get("model") or line.get("model") or ""
    id_ = line.get("id") or response.get("id") or line.get("request_id") or ""
    if not prompt and not isinstance(choices, list):
        return None
    return Row(str(model), str(id_), {key: one for key, one in fields.items() if one is not None})


def script_of(text: str) -> str:
    """Return the script that most letters are of; ``none`` without letters."""
    look = text[:LOOK]
    if look.isascii():
        return "latin" if any(map(str.isalpha, look)) else "none"
    found: dict[str, int] = {}
    for letter in look:
        code = ord(letter)
        name = next((one for one, first, last in _SCRIPTS if first <= code <= last), "other")
        if letter.isalpha():
            found[name] = found.get(name, 0) + 1
    if not found:
        return "none"
    # Japanese is written in Chinese letters as well, Chinese not in kana.
    if found.get("kana", 0) * 5 > found.get("han", 0) > 0:
        return "kana"
    return max(found, key=found.__getitem__)


def refusal_of(text: str) -> str:
    """Return what sort of refusal an answer looks like; ``none``, or ``empty`` without a text."""
    if not text.strip():
        return "empty"
    beginning = text[:BEGINNING]
    sort = next((name for name, one in _REFUSALS if one.search(beginning)), "none")
    # Policies are spoken of in many an answer; a refusal says that it is one, too.
    if sort == "policy" and not any(one.search(beginning) for _, one in _REFUSALS[1:]):
        return "none"
    return sort


def _part(line: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = line.get(name)
    return found if isinstance(found, dict) else line


def _prompt(request: Mapping[str, Any]) -> Iterator[str]:
    messages = request.get("messages")
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict):
            yield from _texts(message.get("content"))
    yield from _texts(request.get("prompt"))


def _completion(response: Mapping[str, Any]) -> Iterator[str]:
    choices = response.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict):
            message = choice.get("message")
            yield from _texts(message.get("content") if isinstance(message, dict) else None)
            yield from _texts(choice.get("text"))


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    for part in content if isinstance(content, list) else ():
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict) and isinstance(part.get("text"), str):
            yield part["text"]


def _reason(choices: list[Any]) -> str:
    reason = choices[0].get("finish_reason") if choices and isinstance(choices[0], dict) else None
    return reason[:24] if isinstance(reason, str) else "none"


def _number(values: Mapping[str, Any], *names: str) -> float | int | None:
    for name in names:
        value = values.get(name)
        if isinstance(value, float | int) and not isinstance(value, bool):
            return value
    return None
