"""Keys, kept out of everything that prints."""

from ccmirror_py.errors import UsageError

LONGEST_KEY = 4096
"""Characters. An environment of more than 128 KiB can't be passed to a program at all."""


class Secret:
    """A key. Its text shows nowhere but through `reveal`."""

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__


def parse_secret(text: str) -> Secret:
    """A key as it was typed or piped: the first line, without the spaces around it."""
    return check_secret(text.partition("\n")[0].strip())


def check_secret(text: str) -> Secret:
    """A key that goes as it is; UsageError (without the text) if it can't be one.

    Printable ASCII, because a key becomes an HTTP header.
    """
    if not text:
        raise UsageError("The key is empty.", "Copy it again from the provider's page.")
    if len(text) > LONGEST_KEY or not all("!" <= character <= "~" for character in text):
        raise UsageError(
            "That is not a key: it has spaces, special characters or no end.",
            "Copy it again from the provider's page.",
        )
    return Secret(text)
