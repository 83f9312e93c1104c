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
    """A key as it was typed, piped or printed; UsageError (without the text) if it can't be one.

    Only the first line counts, as `pass show` and its kind print more; printable ASCII, because a
    key becomes an HTTP header.
    """
    first = text.partition("\n")[0].strip()
    if not first:
        raise UsageError("The key is empty.", "Copy it again from the provider's page.")
    if len(first) > LONGEST_KEY or not all("!" <= character <= "~" for character in first):
        raise UsageError(
            "That is not a key: it has spaces, special characters or no end.",
            "Copy it again from the provider's page.",
        )
    return Secret(first)
