"""One thing `ccm doctor` looked at."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """`subject` is a variant, or "ccm". Only `failed` makes the exit code 1."""

    subject: str
    name: str
    result: Literal["ok", "warning", "failed"]
    detail: str = ""
    hint: str = ""
