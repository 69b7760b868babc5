"""Conversations as prompts and completions.

    {"messages": [{"role": "user", "content": "..."},
                  {"role": "assistant", "content": "..."}]}

The completion is the last message, the assistant's; the prompt is what the messages
before it say, a blank line apart. Roles are not written into the prompt: for a chat
model, `template` has its chat format.
"""

from __future__ import annotations

from typing import Any

from mlpeft.errors import DataError

MESSAGES = "messages"


def with_pair(place: str, row: Any) -> Any:
    """A row with prompt and completion, if it is a conversation; else unchanged.

    Raises:
        DataError: If the conversation has no answer, or several.
    """
    if not isinstance(row, dict) or MESSAGES not in row or "prompt" in row:
        return row
    messages = row[MESSAGES]
    if not isinstance(messages, list) or not all(map(_is_message, messages)):
        raise DataError(
            f"{place}: expected messages like "
            '[{"role": "user", "content": "..."}, {"role": "assistant", ...}]'
        )
    roles = [message["role"] for message in messages]
    if roles.count("assistant") != 1 or roles[-1] != "assistant" or len(roles) < 2:
        raise DataError(
            f"{place}: a conversation of {', '.join(roles) or 'nobody'}; expected one "
            "answer of the assistant, at the end; write one example for each answer"
        )
    *before, answer = (message["content"] for message in messages)
    return {**row, "prompt": "\n\n".join(before), "completion": answer}


def _is_message(message: object) -> bool:
    return isinstance(message, dict) and all(
        isinstance(message.get(key), str) for key in ("role", "content")
    )
