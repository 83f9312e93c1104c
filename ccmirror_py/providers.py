"""Where providers are found: bundled with ccm, then the user's own, which win."""

from contextlib import suppress
from pathlib import Path

from ccmirror_py import fs
from ccmirror_py.errors import DamagedError, NotFoundError, UsageError
from ccmirror_py.provider import Provider, parse_provider

ELSEWHERE = {
    "cerebras": ("Cerebras", "documents no Anthropic format"),
    "gemini": ("Google's Gemini API", "answers 404 wherever that could be (2026-08)"),
    "github-copilot": ("GitHub Copilot", "wants a login of its own and another format"),
    "groq": ("Groq", "documents no Anthropic format"),
    "nvidia": ("NVIDIA's API", "speaks OpenAI's format"),
    "openai": ("OpenAI", "speaks its own format only"),
    "together": ("Together AI", "documents no Anthropic format"),
    "xai": ("xAI", "has given its Anthropic format up"),
}
"""Vendors people ask for that Claude Code can't talk to: their name, and why (autumn 2026)."""


class Providers:
    """`own` is the directory of the user's files; it need not exist."""

    def __init__(self, own: Path) -> None:
        self._own = own
        self._read: dict[str, Provider] = {}

    def ids(self) -> list[str]:
        return sorted({*self._bundled_ids(), *(path.stem for path in self._own.glob("*.toml"))})

    def is_own(self, id_: str) -> bool:
        """A link that leads nowhere counts: the bundled one would send the key elsewhere."""
        path = self._own / f"{id_}.toml"
        return path.is_symlink() or (path.exists() and not path.is_dir())

    def get(self, id_: str) -> Provider:
        """NotFoundError with what could be meant, UsageError with what to use instead of a vendor
        Claude Code can't talk to; DamagedError for a file that is not right."""
        if id_ in self._read:
            return self._read[id_]
        ids = self.ids()
        if id_ not in ids:
            raise _elsewhere(id_) or NotFoundError("provider", id_, ids, "See: ccm providers")
        path = self._path(id_)
        try:
            provider = parse_provider(_text(path))
        except (ValueError, OSError) as error:
            reason = f"can't be read: {error.strerror}" if isinstance(error, OSError) else error
            raise DamagedError(path, str(reason), "The format: docs/providers.md") from None
        if provider.id != id_:
            raise DamagedError(path, f"says it is '{provider.id}'", "Rename the file.")
        self._read[id_] = provider
        return provider

    def all(self) -> list[Provider]:
        """Every provider whose file is right."""
        return self._right(self.ids())

    def mentioning(self, word: str) -> list[Provider]:
        """Those whose file has `word` in it: parsing a few is faster than parsing all."""
        found = []
        for id_ in self.ids():
            with suppress(OSError, ValueError):
                if word in _text(self._path(id_)):
                    found.append(id_)
        return self._right(found)

    def _right(self, ids: list[str]) -> list[Provider]:
        found = []
        for id_ in ids:
            with suppress(DamagedError):
                found.append(self.get(id_))
        return found

    def _path(self, id_: str) -> Path:
        name = f"{id_}.toml"
        return self._own / name if self.is_own(id_) else _bundled() / name

    def _bundled_ids(self) -> list[str]:
        return [
            entry.name.removesuffix(".toml")
            for entry in _bundled().iterdir()
            if entry.name.endswith(".toml")
        ]


def _elsewhere(id_: str) -> UsageError | None:
    if id_ not in ELSEWHERE:
        return None
    name, reason = ELSEWHERE[id_]
    return UsageError(
        f"Claude Code can't talk to {name} directly: it {reason}.",
        "Use its models through OpenRouter (--provider openrouter --model …), or put "
        "claude-code-router (--provider ccrouter) or LiteLLM (--provider custom --base-url …) "
        "in front of it.",
    )


def _bundled() -> Path:
    """Inside the installed package; beside it in a checkout, where the build has not copied it."""
    inside = Path(__file__).parent / "variants"
    return inside if inside.is_dir() else Path(__file__).parents[1] / "variants"


def _text(path: Path) -> str:
    return fs.read_file(path).decode()
