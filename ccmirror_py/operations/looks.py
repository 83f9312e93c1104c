"""How a variant looks, on the disk: files of its generation, and what leads there from `config/`.

`config/` is Claude Code's and the user's. ccm has three things in it: links named `ccm` into the
current generation, so that updates and rollbacks change what they lead to in one step; `ccm/`; and
the few keys that seeding.py keeps.
"""

import json
import math
from collections.abc import Collection, Mapping
from pathlib import Path

from ccmirror_py import fs, guidance, statusline
from ccmirror_py.context import Context
from ccmirror_py.environment import tiers_of
from ccmirror_py.errors import CcmError
from ccmirror_py.look import NO_THEME, Look
from ccmirror_py.palette import theme
from ccmirror_py.provider import Provider, plain
from ccmirror_py.sealed import opened, sealed
from ccmirror_py.seeding import seeded, wanted_claude_json, wanted_settings
from ccmirror_py.settings import seeded_claude_json
from ccmirror_py.variant import Variant

_LINKS = {
    "themes/ccm.json": "../../current/theme.json",
    "rules/ccm.md": "../../current/guidance.md",
}
_SEEDED = "ccm/seeded.json"


def look_of(context: Context, variant: Variant, provider: Provider) -> Look:
    """The one that was chosen, while its provider can be read; else the provider's."""
    chosen = variant.choices.looks.theme
    if chosen in (None, NO_THEME, provider.id):
        return provider.look
    try:
        return context.providers.get(str(chosen)).look
    except CcmError:
        return provider.look


def look_files(context: Context, variant: Variant) -> dict[str, tuple[bytes, int]]:
    """What the generation holds beside its record: content and mode. All of them at all times, so
    that no link leads nowhere; what is off is empty, or nothing asks for it."""
    provider = context.providers.get(variant.choices.provider)
    look, looks = look_of(context, variant, provider), variant.choices.looks
    codes = statusline.painted(look, looks.form)
    prices = statusline.prices_of(provider, variant.choices)
    texts = {
        "theme.json": json.dumps(theme(look, looks.form), indent=2) + "\n",
        "guidance.md": guidance.guidance(variant.name, provider, variant.choices),
        "statusline": statusline.render(variant.name, provider.name, codes, prices),
        "splash": _splash(variant, provider, codes[1]),
    }
    return {
        name: (text.encode(), 0o700 if name == "statusline" else 0o600)
        for name, text in texts.items()
    }


def title(variant: Variant) -> str:
    """Of the window; "" leaves it to Claude Code."""
    if not variant.choices.looks.title:
        return ""
    provider = variant.choices.provider
    text = variant.name if provider == variant.name else f"{variant.name} \N{MIDDLE DOT} {provider}"
    return "".join(filter(str.isprintable, text))


def _splash(variant: Variant, provider: Provider, code: str) -> str:
    model = plain(tiers_of(variant.environment).get("main", ""))
    parts = [provider.name, *([model] if model else []), f"Claude Code {variant.version}"]
    told = " \N{MIDDLE DOT} ".join(parts)
    return f"\x1b[{code};7m {variant.name} \x1b[0m {told}\n"


def seed_config(context: Context, variant: Variant, forced: Collection[str] = ()) -> None:
    """So that the first start asks nothing and looks like its provider. What the user wrote stays:
    files that are damaged, kept elsewhere or not ccm's are left alone."""
    provider = context.providers.get(variant.choices.provider)
    looks, look = variant.choices.looks, look_of(context, variant, provider)
    script = str(context.home.current(variant.name) / "statusline")
    config = context.home.config(variant.name)
    before = seeded_before(context, variant.name)
    ours: dict[str, object] = {}
    for file, wanted in (
        (".claude.json", wanted_claude_json(looks, variant.version)),
        ("settings.json", wanted_settings(looks, look, variant.version, script)),
    ):
        if before is None:
            wanted = {key: value for key, value in wanted.items() if key in forced}  # noqa: PLW2901
        ours[file] = (before or {}).get(file, {})
        existing = _read_object(config / file)
        if existing is None or (config / file).is_symlink():
            continue  # damaged: Claude Code says so; or the user keeps it elsewhere
        complete = seeded_claude_json(existing, variant) if file == ".claude.json" else existing
        after, ours[file] = seeded(complete, _mapping(ours[file]), wanted, forced)
        _replace(context, variant, file, existing, after)
    if before not in (None, ours):
        _replace(context, variant, _SEEDED, {}, sealed(ours))
    for file, target in _LINKS.items():
        context.variants.link_config(variant.name, file, target)


def seeded_before(context: Context, name: str) -> dict[str, object] | None:
    """What of the user's settings is ccm's. None when that can't be read any more: then all of them
    is the user's, until that file is taken away."""
    document = _read_object(context.home.config(name) / _SEEDED)
    try:
        return None if document is None else opened(document)
    except ValueError:
        return None


def chosen_theme(context: Context, variant: Variant) -> str:
    """What Claude Code's own settings say, as far as they can be read; "" for nothing."""
    config = context.home.config(variant.name)
    for file in ("settings.json", ".claude.json"):
        theme_ = (_read_object(config / file) or {}).get("theme")
        if isinstance(theme_, str):
            return theme_
    return ""


def _replace(
    context: Context, variant: Variant, file: str, old: Mapping[str, object], new: object
) -> None:
    if new != old:
        content = json.dumps(new, indent=2).encode()
        context.variants.seed_config(variant.name, file, content)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _read_object(path: Path) -> dict[str, object] | None:
    """A JSON object, empty when there is no file, None when it can't be read.

    None also for one that could not be written again as it is.
    """
    try:
        document = json.loads(
            fs.read_file(path),
            object_pairs_hook=_without_repeats,
            parse_float=_finite,
            parse_constant=_finite,
        )
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key stands there twice")
    return dict(pairs)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number JSON can't hold")
    return number
