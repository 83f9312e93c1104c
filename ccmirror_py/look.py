"""How a variant looks and what its model is told: a provider's data, and what the user chose."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from ccmirror_py.version import Version

if TYPE_CHECKING:
    from ccmirror_py.toml_table import Table

Form = Literal["dark", "light", "dark-daltonized", "light-daltonized", "dark-ansi", "light-ansi"]
"""`fields.FORMS` as a type."""

FORMS: tuple[Form, ...] = get_args(Form)
FIRST_WITH_THEMES = Version(2, 1, 118)
"""2.1.117 reads no files in themes/."""
THEME_KEY = "custom:ccm"
"""How Claude Code names themes/ccm.json."""
NO_THEME = "none"

_COLOUR = re.compile(r"#[0-9a-f]{6}")


@dataclass(frozen=True)
class Look:
    """A provider's: seed colours (`#rrggbb`), from which palette.py makes all others.

    `accent` is the brand's: logo, spinner, frame. `second` marks what asks for something. `tint`
    is what the greys lean to. `guidance` is told to the model beside what the file says anyway.
    """

    name: str
    accent: str
    second: str
    tint: str
    verbs: tuple[str, ...] = ()
    guidance: tuple[str, ...] = ()


@dataclass(frozen=True)
class Looks:
    """The user's choice. `theme` is another provider's id, "none", or None for the own provider's.

    `guidance` is the user's own text in place of the provider's; "" tells the model nothing.
    """

    theme: str | None = None
    form: Form = "dark"
    status_line: bool = True
    verbs: bool = True
    title: bool = True
    splash: bool = False
    guidance: str | None = None


def read_look(top: "Table", id_: str, name: str) -> Look:
    """`[look]` of a provider's file; one of its own for a provider whose file has none."""
    from ccmirror_py.toml_table import matching  # records are read without any provider

    if "look" not in top:
        return _invented(id_, name)
    table = top.table("look")
    accent = matching(table.take("accent", str), _COLOUR, table.where)
    return Look(
        name=table.take("name", str),
        accent=accent,
        second=matching(table.take("second", str), _COLOUR, table.where),
        tint=matching(table.take("tint", str, accent), _COLOUR, table.where),
        verbs=table.texts("verbs"),
        guidance=table.texts("guidance"),
    )


def _invented(id_: str, name: str) -> Look:
    """Always the same for the same id."""
    number = 0
    for letter in id_.encode():
        number = (number * 131 + letter) % 360
    return Look(name, _hue(number), _hue((number + 150) % 360), _hue(number))


def _hue(degrees: int) -> str:
    """A clear colour of that hue, half way between dark and light."""
    parts = []
    for shift in (0, 240, 120):
        away = abs((degrees + shift) % 360 - 180) / 60  # 3 at the channel's own hue, 0 opposite
        parts.append(round(60 + 160 * min(max(away - 1, 0), 1)))
    return "#" + "".join(f"{part:02x}" for part in parts)


def too_old(version: Version) -> str:
    """What to tell about themes; "" where Claude Code knows them."""
    if version >= FIRST_WITH_THEMES:
        return ""
    return f"Claude Code {version} knows no themes of ccm's; {FIRST_WITH_THEMES} is the first."


def to_json(looks: Looks) -> dict[str, object]:
    return {
        "theme": looks.theme,
        "form": looks.form,
        "status_line": looks.status_line,
        "verbs": looks.verbs,
        "title": looks.title,
        "splash": looks.splash,
        "guidance": looks.guidance,
    }
