"""What a server takes at most, so that no request can take it all."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of a server.

    Attributes:
        body_bytes: Of a request.
        batch: Texts of one request to predict.
        text_chars: Characters of a text. The encoder reads the first tokens alone.
        examples: Of one request to learn, with texts without labels.
        labels: Of an adapter.
        adapters: In memory.
        waiting_texts: Texts that wait for the compute thread; beyond it callers are
            told to come back.
        learning: Requests to learn that wait or run.
        body_s: Seconds in which a request's body must have come.
    """

    body_bytes: int = 4 << 20
    batch: int = 256
    text_chars: int = 4000
    examples: int = 5000
    labels: int = 1000
    adapters: int = 100
    waiting_texts: int = 4096
    learning: int = 4
    body_s: float = 30.0
