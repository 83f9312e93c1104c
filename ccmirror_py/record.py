"""JSON that ccm wrote and others may have changed, read with types."""

from typing import TypeVar

from ccmirror_py.provider import VARIABLE

T = TypeVar("T")


def variable_name(name: str) -> str:
    """Names of variables stand unquoted in the launcher."""
    if not VARIABLE.fullmatch(name):
        raise ValueError(f"has '{name}' for the name of a variable")
    return name


class Record:
    """A JSON object read with types; every complaint is a ValueError naming the field."""

    def __init__(self, document: object) -> None:
        if not isinstance(document, dict):
            raise ValueError("is not a JSON object")
        self._values: dict[str, object] = document

    def take(self, name: str, kind: type[T]) -> T:
        value = self.take_or_none(name, kind)
        if value is None:
            raise ValueError(f"lacks '{name}'")
        return value

    def take_or_none(self, name: str, kind: type[T]) -> T | None:
        value = self._values.get(name)
        if value is not None and (
            not isinstance(value, kind) or (kind is int and isinstance(value, bool))
        ):
            raise ValueError(f"has a '{name}' that is not a {kind.__name__}")
        if isinstance(value, str):
            _check_text(name, value)
        return value

    def tokens(self, name: str) -> int | None:
        number = self.take_or_none(name, int)
        if number is not None and number < 1:
            raise ValueError(f"has a '{name}' that is not a number of tokens")
        return number

    def texts(self, name: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """`default` for what records did not have from the beginning."""
        if default is not None and name not in self._values:
            return default
        values = self.take(name, list)
        if not all(isinstance(value, str) for value in values):
            raise ValueError(f"has a '{name}' that is not a list of texts")
        for value in values:
            _check_text(name, value)
        return tuple(values)

    def objects(self, name: str) -> dict[str, dict[str, object]]:
        """{} for none."""
        values = self.take(name, dict) if name in self._values else {}
        if not all(isinstance(value, dict) for value in values.values()):
            raise ValueError(f"has a '{name}' that does not map texts to objects")
        return dict(values)

    def texts_by_name(self, name: str, default: dict[str, str] | None = None) -> dict[str, str]:
        if default is not None and name not in self._values:
            return default
        values = self.take(name, dict)
        if not all(isinstance(k, str) and isinstance(v, str) for k, v in values.items()):
            raise ValueError(f"has a '{name}' that does not map texts to texts")
        for value in values.values():
            _check_text(name, value)
        return dict(values)

    def variables(self, name: str) -> dict[str, str]:
        return {variable_name(key): value for key, value in self.texts_by_name(name).items()}


def _check_text(name: str, value: str) -> None:
    try:
        usable = b"\0" not in value.encode()
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise ValueError(f"has a '{name}' that no program could be given")
