"""Who is told when a run has ended or failed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from mlpeft.config.base import Section

if TYPE_CHECKING:
    from collections.abc import Sequence

VARIABLE = "env:"
"""Begins the name of an environment variable that holds a webhook's URL."""


def _check_webhook(text: str | None) -> str | None:
    plain = re.match(r"https?://[^\s/]", text or "")
    named = re.fullmatch(rf"{VARIABLE}[A-Za-z_][A-Za-z0-9_]*", text or "")
    if text is None or plain or named:
        return text
    raise ValueError(
        "expected http:// or https:// and a host, or env:NAME, where the environment "
        "variable NAME holds such a URL"
    )


class NotifySection(Section):
    """Who is told when a run has ended or failed. Only the head node acts on it."""

    command: str | None = Field(
        default=None,
        min_length=1,
        description="A command of the shell, such as `mail -s mlpeft me@example.org`: "
        "it gets the text on standard input, and MLPEFT_RUN, MLPEFT_REASON (done, "
        "patience or failed) and MLPEFT_RUN_DIR as variables",
    )
    webhook: Annotated[str | None, AfterValidator(_check_webhook)] = Field(
        default=None,
        description="A URL that gets JSON by POST, with `text` as Slack and Mattermost "
        "read it; env:NAME: the environment variable NAME holds the URL",
    )
    macos: bool = Field(
        default=False, description="A notification on this Mac's screen"
    )

    @property
    def anybody(self) -> bool:
        """Whether somebody is to be told."""
        return self != NotifySection()


def notify_override(target: str) -> str:
    """The override of what `--notify` says: a URL, env:NAME, `macos` or a command."""
    if target == "macos":
        return "notify.macos=true"
    webhook = target.startswith(("http://", "https://", VARIABLE))
    key = "webhook" if webhook else "command"
    return f"notify.{key}={_quoted(target)}"


def without_targets(arguments: Sequence[str]) -> list[str]:
    """A command's arguments without whom the user wants told: reports show them."""
    kept: list[str] = []
    words = iter(arguments)
    for word in words:
        option, equals, value = word.partition("=")
        if option in {"--notify", "--set"} and not equals:
            value = next(words, "")
            pair = [word, value]
        else:
            pair = [word]
        secret = option == "--set" and value.strip().startswith("notify.")
        if option != "--notify" and not secret:
            kept += pair
    return kept


def _quoted(text: str) -> str:
    """As a YAML string."""
    escaped = text.replace("'", "''")
    return f"'{escaped}'"
