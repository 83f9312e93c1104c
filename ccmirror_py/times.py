"""The clock, in the one form records have."""

from datetime import UTC, datetime


def now() -> str:
    """UTC, ISO 8601, whole seconds: 2026-11-22T17:11:00Z."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def age(moment: str) -> str:
    """How long ago, for people: `3 d`. `?` for a text that is no time."""
    try:
        past = datetime.fromisoformat(moment)
    except ValueError:
        return "?"
    if past.tzinfo is None:
        return "?"
    seconds = int((datetime.now(UTC) - past).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return "now"
