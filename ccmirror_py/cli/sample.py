"""A sample of Claude Code's screen in a theme, painted into the terminal."""

from collections.abc import Mapping

from ccmirror_py.look import Form, Look
from ccmirror_py.palette import BACKGROUNDS, colour, nearest_of_256, tokens

_ANSI = {name: n for n, name in enumerate("black red green yellow blue magenta cyan white".split())}


def depth(environ: Mapping[str, str], terminal: bool) -> int:
    """How many bits of colour: 24, 8, or 0 for none at all."""
    if environ.get("NO_COLOR") or environ.get("TERM") in (None, "", "dumb"):
        return 0
    if not terminal and not environ.get("FORCE_COLOR"):
        return 0
    known = environ.get("COLORTERM", "").lower()
    return 24 if "truecolor" in known or "24bit" in known else 8


def sample(look: Look, form: Form, bits: int) -> str:
    """A few lines, on the background the form is for."""
    own = tokens(look, form)
    dark = form.startswith("dark")
    ground = BACKGROUNDS["dark" if dark else "light"][1 if dark else 0]
    plain = "#ffffff" if dark else "#000000"

    def paint(text: str, token: str, behind: str = "") -> str:
        if not bits:
            return text
        shown = own.get(token, plain)
        under = own.get(behind, ground)
        return f"\x1b[{_code(shown, bits, 38)};{_code(under, bits, 48)}m{text}"

    rows: list[list[tuple[str, ...]]] = [
        [(" * ", "claude"), (look.name, "text"), (f"  {form}", "inactive")],
        [(" > fix the failing test", "text", "userMessageBackground")],
        [(" * Read ", "success"), ("tests/test_all.py", "text"), ("  ctrl+o", "subtle")],
        [("   - assert total == 41", "text", "diffRemoved")],
        [("   + assert total == 42", "text", "diffAdded")],
        [(" ? Go on? ", "permission"), ("Yes", "suggestion")],
        [("   3 warnings ", "warning"), ("1 error ", "error")],
        [(" " + "\N{BOX DRAWINGS LIGHT HORIZONTAL}" * 46, "promptBorder")],
    ]
    lines = []
    for row in rows:
        used = sum(len(part[0]) for part in row)
        behind = row[0][2] if len(row[0]) > 2 else ""
        text = "".join(paint(*part) for part in row)
        rest = paint(" " * max(0, 52 - used), "text", behind)
        lines.append(f"{text}{rest}\x1b[0m" if bits else text)
    return "\n".join(lines)


def _code(text: str, bits: int, which: int) -> str:
    """SGR for a colour in front (38) or behind (48)."""
    if text.startswith("ansi:"):
        name = text.removeprefix("ansi:")
        number = _ANSI[name.removesuffix("Bright")] + which - 8 + 60 * name.endswith("Bright")
        return str(number)
    red, green, blue = colour(text)
    if bits == 24:
        return f"{which};2;{red};{green};{blue}"
    return f"{which};5;{nearest_of_256((red, green, blue))}"


def swatch(look: Look, bits: int) -> str:
    """Two blocks: its accent and its second colour."""
    blocks = "\N{FULL BLOCK}" * 2
    return "".join(
        f"\x1b[{_code(text, bits, 38)}m{blocks}\x1b[0m" for text in (look.accent, look.second)
    )
