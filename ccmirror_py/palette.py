"""From a provider's seed colours to a theme of Claude Code, in each of the forms there are.

Token names are those of 2.1.118 to 2.1.330 (read in the programs, 2026-11-22); what is left out
stays as in the form's base. Claude Code does not paint the terminal's background, so what is read
has to stand out from each of the usual ones: WCAG 2.2, 1.4.3 (AA), a ratio of 4.5.
"""

from collections.abc import Iterable, Mapping
from functools import cache

from ccmirror_py.look import Form, Look

Colour = tuple[int, int, int]

AA = 4.5
"""For text; frames need 3."""
BACKGROUNDS = {
    # black, Visual Studio Code, Dracula, Solarized
    "dark": ("#000000", "#1e1e1e", "#282a36", "#002b36"),
    "light": ("#ffffff", "#fafafa", "#fdf6e3"),
}
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)
_STATUS = {
    # what means good and bad differs in brightness and hue, for whoever can't tell red from green
    False: {"good": (63, 185, 80), "bad": (248, 81, 73), "care": (224, 165, 32)},
    True: {"good": (56, 139, 253), "bad": (219, 109, 40), "care": (227, 200, 60)},
}
_ANSI = {
    # xterm's own values; names as Claude Code takes them after "ansi:"
    "red": (205, 0, 0),
    "green": (0, 205, 0),
    "yellow": (205, 205, 0),
    "blue": (0, 0, 238),
    "magenta": (205, 0, 205),
    "cyan": (0, 205, 205),
    "redBright": (255, 0, 0),
    "greenBright": (0, 255, 0),
    "yellowBright": (255, 255, 0),
    "blueBright": (92, 92, 255),
    "magentaBright": (255, 0, 255),
    "cyanBright": (0, 255, 255),
    "black": _BLACK,
    "blackBright": (127, 127, 127),
    "white": (229, 229, 229),
    "whiteBright": _WHITE,
}
_READABLE = {
    # a bright blue is 4.4 on black at best
    "dark": ("redBright", "greenBright", "yellowBright", "magentaBright", "cyanBright"),
    "light": ("red", "blue", "magenta"),
}


def colour(text: str) -> Colour:
    """`#rrggbb`, or `ansi:NAME` as xterm shows it."""
    if text.startswith("ansi:"):
        return _ANSI[text.removeprefix("ansi:")]
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def written(value: Colour) -> str:
    return "#" + "".join(f"{part:02x}" for part in value)


def contrast(one: Colour, other: Colour) -> float:
    """The ratio of WCAG 2.2, from 1 to 21."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def theme(look: Look, form: Form) -> dict[str, object]:
    """The file themes/ccm.json."""
    return {"name": f"{look.name} (ccm)", "base": form, "overrides": dict(tokens(look, form))}


@cache  # of many variants most look like another one
def tokens(look: Look, form: Form) -> Mapping[str, str]:
    """Token to colour: `#rrggbb`, or `ansi:NAME` in the forms of 16 colours."""
    return _sixteen(look, form) if form.endswith("-ansi") else _full(look, form)


def accent(look: Look, form: Form) -> str:
    """The one colour a variant is known by there."""
    return tokens(look, form)["claude"]


@cache
def nearest_of_256(value: Colour) -> int:
    """In xterm's cube and greys."""
    steps = (0, 95, 135, 175, 215, 255)
    cube = {
        16 + 36 * r + 6 * g + b: (steps[r], steps[g], steps[b])
        for r in range(6)
        for g in range(6)
        for b in range(6)
    }
    greys = {232 + n: (8 + 10 * n,) * 3 for n in range(24)}
    every = {**cube, **greys}
    return min(every, key=lambda number: _distance(value, every[number]))


def _full(look: Look, form: Form) -> dict[str, str]:
    dark = form.startswith("dark")
    grounds = [colour(text) for text in BACKGROUNDS["dark" if dark else "light"]]
    away, back = (_WHITE, _BLACK) if dark else (_BLACK, _WHITE)
    status = _STATUS[form.endswith("-daltonized")]

    def readable(value: Colour, ratio: float = AA) -> Colour:
        return _until(value, away, grounds, ratio)

    accent_, second = readable(colour(look.accent)), readable(colour(look.second))
    tint = colour(look.tint)
    text = _until(_mixed(tint, away, 0.88), away, grounds, 11)
    # paler than the terminal's background by little, so that text on it stays as readable
    behind = _until(_mixed(tint, back, 0.78), back, [text], 8)
    good, bad, care = (readable(status[name]) for name in ("good", "bad", "care"))

    def on(value: Colour, strength: float) -> Colour:
        return _until(_mixed(back, value, strength), back, [text], AA)

    values = {
        "claude": accent_,
        "clawd_body": accent_,
        "claudeShimmer": _mixed(accent_, away, 0.35),
        "claudeBlue_FOR_SYSTEM_SPINNER": second,
        "claudeBlueShimmer_FOR_SYSTEM_SPINNER": _mixed(second, away, 0.35),
        "briefLabelClaude": accent_,
        "promptBorder": accent_,
        "promptBorderShimmer": _mixed(accent_, away, 0.35),
        "fastMode": accent_,
        "fastModeShimmer": _mixed(accent_, away, 0.35),
        "permission": second,
        "permissionShimmer": _mixed(second, away, 0.35),
        "suggestion": second,
        "remember": second,
        "ide": second,
        "professionalBlue": second,
        "briefLabelYou": second,
        "background": second,
        "rate_limit_fill": second,
        "rate_limit_empty": _mixed(back, second, 0.3),
        "planMode": readable(_mixed(second, good, 0.5)),
        "autoAccept": readable(_mixed(accent_, second, 0.5)),
        "autoAcceptShimmer": readable(_mixed(_mixed(accent_, second, 0.5), away, 0.35)),
        "skill": readable(_mixed(accent_, second, 0.5)),
        "merged": readable(_mixed(accent_, second, 0.5)),
        "bashBorder": accent_,
        "text": text,
        "inverseText": back,
        "inactive": readable(_mixed(tint, away, 0.3), 5.5),
        "inactiveShimmer": _mixed(readable(_mixed(tint, away, 0.3), 5.5), away, 0.35),
        "subtle": readable(_mixed(tint, back, 0.2)),
        "success": good,
        "error": bad,
        "warning": care,
        "warningShimmer": _mixed(care, away, 0.35),
        "diffAdded": on(status["good"], 0.32),
        "diffRemoved": on(status["bad"], 0.32),
        "diffAddedDimmed": on(status["good"], 0.18),
        "diffRemovedDimmed": on(status["bad"], 0.18),
        "diffAddedWord": on(status["good"], 0.55),
        "diffRemovedWord": on(status["bad"], 0.55),
        "userMessageBackground": behind,
        "userMessageBackgroundHover": _until(_mixed(behind, away, 0.06), back, [text], AA),
        "composerSidebarBackground": _mixed(behind, back, 0.4),
        "bashMessageBackgroundColor": on(accent_, 0.16),
        "memoryBackgroundColor": on(second, 0.16),
        "selectionBg": on(second, 0.34),
    }
    return {token: written(value) for token, value in values.items()}


def _sixteen(look: Look, form: Form) -> dict[str, str]:
    """The terminal's own colours: the nearest two of those that can be read on it."""
    dark = form == "dark-ansi"
    names = _READABLE["dark" if dark else "light"]
    first = _nearest(look.accent, names, "whiteBright" if dark else "black")
    second = _nearest(look.second, [n for n in names if n != first], first)
    values = {
        **dict.fromkeys(("claude", "clawd_body", "briefLabelClaude", "promptBorder"), first),
        **dict.fromkeys(("fastMode", "bashBorder"), first),
        **dict.fromkeys(("claudeShimmer", "promptBorderShimmer"), first),
        **dict.fromkeys(("permission", "suggestion", "remember", "ide", "background"), second),
        **dict.fromkeys(("rate_limit_fill", "briefLabelYou", "professionalBlue"), second),
        **dict.fromkeys(("claudeBlue_FOR_SYSTEM_SPINNER", "permissionShimmer"), second),
        **dict.fromkeys(("planMode", "autoAccept", "skill", "merged"), second),
    }
    if not dark:
        # the base has grey, green and yellow here, which nobody can read on white
        values |= {
            **dict.fromkeys(("inactive", "subtle", "text"), "black"),
            "success": "blue",
            "warning": "magenta",
            "error": "red",
        }
    return {token: f"ansi:{name}" for token, name in values.items()}


def _nearest(text: str, names: Iterable[str], grey: str) -> str:
    """By hue; what has none is `grey`."""
    value = colour(text)
    if max(value) - min(value) < 40:
        return grey
    pure = _saturated(value)
    return min(names, key=lambda name: _distance(pure, _saturated(_ANSI[name])))


def _saturated(value: Colour) -> Colour:
    low, high = min(value), max(value)
    r, g, b = (round(255 * (part - low) / (high - low)) for part in value)
    return r, g, b


def _until(value: Colour, goal: Colour, grounds: list[Colour], ratio: float) -> Colour:
    """`value`, moved towards `goal` as far as it takes to be read on every one of `grounds`."""
    for step in range(51):
        mixed = _mixed(value, goal, step / 50)
        if all(contrast(mixed, ground) >= ratio for ground in grounds):
            return mixed
    return goal


def _mixed(one: Colour, other: Colour, share: float) -> Colour:
    """`share` of the other."""
    r, g, b = (round(a + (z - a) * share) for a, z in zip(one, other, strict=True))
    return r, g, b


def _distance(one: Colour, other: Colour) -> int:
    return sum((a - z) ** 2 for a, z in zip(one, other, strict=True))


def _luminance(value: Colour) -> float:
    r, g, b = (
        part / 255 / 12.92 if part / 255 <= 0.04045 else ((part / 255 + 0.055) / 1.055) ** 2.4
        for part in value
    )
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
