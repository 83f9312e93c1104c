"""What came back from an endpoint, or why nothing did."""

import json
import re
from dataclasses import dataclass, field
from typing import Any, Literal

Fault = Literal["name", "refused", "certificate", "proxy", "timeout", "broken", "address"]
"""Why there is no answer: the host's name is unknown, nobody listens, and so on."""

LONGEST_QUOTE = 240
STALLED = 1.5
"""Seconds between two pieces of an answer. A model that takes longer for a word is none to work
with."""


@dataclass(frozen=True)
class Heard:
    """`body` is what had come when the answer ended, or broke off; `fault` names why it did.

    `seconds` is how long all of it took, `idle` how long nothing had come at its end.
    """

    status: int = 0
    kind: str = ""
    body: bytes = field(default=b"", repr=False)
    location: str = ""
    fault: Fault | None = None
    detail: str = ""
    seconds: float = 0.0
    idle: float = 0.0

    @property
    def ok(self) -> bool:
        return self.status == 200 and self.fault is None

    @property
    def is_slow(self) -> bool:
        """Whether it was still coming when the time was over: what it lacks says nothing then."""
        return self.fault == "timeout" and bool(self.body) and self.idle < STALLED

    @property
    def json(self) -> Any:
        """None when it is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def text(self) -> str:
        """The body for looking words up; JSON within JSON is as readable as the outer one."""
        return self.body.decode(errors="replace").replace("\\", "")

    @property
    def is_html(self) -> bool:
        return "html" in self.kind or self.body.lstrip()[:15].lower().startswith(
            (b"<!doctype html", b"<html")
        )

    @property
    def quote(self) -> str:
        """What it said, in one line for people."""
        if self.is_html:
            return "a web page"
        words = _words(self.json) or self.body.decode(errors="replace")
        line = " ".join(words.split())
        return line[:LONGEST_QUOTE] + ("…" if len(line) > LONGEST_QUOTE else "")


def _words(value: object) -> str:
    """The sentence in an error, wherever vendors put it."""
    match value:
        case str(text):
            return text
        case {"error": dict() | str() as inner} if _words(inner):
            return _words(inner)
        case {"message": str(text)} | {"detail": str(text)} | {"msg": str(text)}:
            return text
        case {"detail": [{"msg": str(text)}, *_]}:
            return text
    return ""


def redacted(text: str, key: str) -> str:
    """Without the key, and without any eight characters of it in a row: servers quote keys."""
    width = min(8, len(key))
    parts = {key[i : i + width] for i in range(len(key) - width + 1)} if key else set()
    hidden = [False] * len(text)
    for part in parts:
        at = text.find(part)
        while at >= 0:
            hidden[at : at + width] = [True] * width
            at = text.find(part, at + 1)
    kept = "".join("\0" if hide else c for c, hide in zip(text, hidden, strict=True))
    return re.sub("\0+", "***", kept)
