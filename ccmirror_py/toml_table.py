"""A TOML table read strictly: wrong types, and keys nobody asked for, are errors that name them."""

import re
from typing import TypeVar

T = TypeVar("T")


def check_text(text: str) -> str:
    """`text` when it is one printable line (a model id, a value); ValueError otherwise."""
    if not text or not text.isprintable():
        raise ValueError("is empty or contains control characters")
    return text


def matching(text: str, pattern: re.Pattern[str], where: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(f"has '{text}' in {where}, which is not allowed there")
    return text


class Table:
    """A TOML table that notices the keys nobody asked for."""

    def __init__(self, values: dict[str, object], where: str) -> None:
        self._values = dict(values)
        self.where = f"[{where}]" if where else "the top level"
        self._path = where
        self._inner: list[Table] = []

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def take(self, key: str, kind: type[T], default: T | None = None) -> T:
        value = self._values.pop(key, default)
        if value is None:
            raise ValueError(f"lacks '{key}' in {self.where}")
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ValueError(f"has a '{key}' in {self.where} that is not a {kind.__name__}")
        if isinstance(value, str) and value:
            check_text(value)
        return value

    def choice(self, key: str, allowed: tuple[str, ...], default: str | None = None) -> str:
        value = self.take(key, str, default)
        if value not in allowed:
            raise ValueError(f"has {key} = '{value}' in {self.where}; it is {' or '.join(allowed)}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        values = self.take(key, list, [])
        if not all(isinstance(value, str) and value for value in values):
            raise ValueError(f"has a '{key}' in {self.where} that is not a list of texts")
        return tuple(check_text(value) for value in values)

    def amount(self, key: str) -> float:
        """What something costs."""
        value = self._values.pop(key, None)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
            raise ValueError(f"has a '{key}' in {self.where} that is not an amount")
        return float(value)

    def tokens(self, key: str) -> int | None:
        """A number of tokens; None for the text "unknown", which has to be said."""
        if self._values.get(key) == "unknown":
            del self._values[key]
            return None
        value = self.take(key, int)
        if value < 1:
            raise ValueError(f"has {key} = {value} in {self.where}; it is a number of tokens")
        return value

    def table(self, key: str) -> "Table":
        inner = Table(self.take(key, dict, {}), f"{self._path}.{key}".lstrip("."))
        self._inner.append(inner)
        return inner

    def tables(self, key: str) -> "dict[str, Table]":
        """The tables below `key`, by name."""
        outer = self.table(key)
        return {check_text(name): outer.table(name) for name in list(outer._values)}

    def all(self, kind: type[T]) -> dict[str, T]:
        return {key: self.take(key, kind) for key in list(self._values)}

    def must_be_empty(self) -> None:
        """ValueError for a key that was not taken, here or in a table that was."""
        if self._values:
            raise ValueError(f"has the unknown key '{next(iter(self._values))}' in {self.where}")
        for inner in self._inner:
            inner.must_be_empty()
