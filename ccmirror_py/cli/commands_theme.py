"""`ccm theme` and `ccm guidance`: how a variant looks, and what its model is told."""

import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from ccmirror_py.cli import params, wiring
from ccmirror_py.cli.completing import complete_look, complete_theme, one_of
from ccmirror_py.cli.options import AsJson, Name
from ccmirror_py.cli.render import note, out, out_json, table
from ccmirror_py.context import Context
from ccmirror_py.errors import NotFoundError, UsageError
from ccmirror_py.fields import LONGEST_GUIDANCE, check_guidance
from ccmirror_py.look import (
    FORMS,
    NO_THEME,
    Form,
    too_old,
)
from ccmirror_py.provider import Provider
from ccmirror_py.variant import Variant

Switch = bool | None
FormOption = Annotated[
    str | None,
    typer.Option(metavar="FORM", help=", ".join(FORMS), autocompletion=one_of(*FORMS)),
]


def theme_list(as_json: AsJson = False) -> None:
    """Show every theme: one for each provider."""
    context = wiring.context()
    looks = [(provider.id, provider.look) for provider in context.providers.all()]
    if as_json:
        themes = [
            {"id": id_, "name": look.name, "accent": look.accent, "second": look.second}
            for id_, look in looks
        ]
        out_json({"schema": 1, "forms": list(FORMS), "themes": themes})
        return
    from ccmirror_py.cli.sample import depth, swatch

    bits = depth(context.environ, sys.stdout.isatty())
    out(table(("ID", "NAME", "COLOURS"), [(i, k.name, f"{k.accent} {k.second}") for i, k in looks]))
    if bits:
        out("".join(swatch(look, bits) for _, look in looks))
    note(f"Forms: {', '.join(FORMS)}. See one: ccm theme preview ID")


def theme_show(name: Name, as_json: AsJson = False) -> None:
    """Show how a variant looks.

    And which theme Claude Code's own settings name.
    """
    from ccmirror_py.operations.looks import chosen_theme, look_of

    context = wiring.context()
    variant = context.variants.get(name)
    looks = variant.choices.looks
    look = look_of(context, variant, context.providers.get(variant.choices.provider))
    used = chosen_theme(context, variant)
    if as_json:
        switches = {"status_line": looks.status_line, "verbs": looks.verbs}
        switches |= {"title": looks.title, "splash": looks.splash}
        named = None if looks.theme == NO_THEME else look.name
        out_json({"schema": 1, "theme": named, "form": looks.form, "used": used, **switches})
        return
    shown = "none of ccm's" if looks.theme == NO_THEME else f"{look.name}, {looks.form}"
    out(f"{'theme':<11} {shown}")
    out(f"{'in use':<11} {used or 'Claude Code chooses'}")
    for word, on in (
        ("status line", looks.status_line),
        ("verbs", looks.verbs),
        ("title", looks.title),
        ("splash", looks.splash),
    ):
        out(f"{word:<11} {'on' if on else 'off'}")
    _say_when_too_old(variant)


def theme_set(
    name: Name,
    theme: Annotated[
        str | None,
        typer.Argument(
            metavar="[THEME]",
            help="A provider's, `own`, `none`, or a form such as light.",
            autocompletion=complete_theme,
        ),
    ] = None,
    form: FormOption = None,
    status_line: Annotated[
        Switch,
        typer.Option("--status-line/--no-status-line", help="A line with model and cost."),
    ] = None,
    verbs: Annotated[
        Switch, typer.Option("--verbs/--no-verbs", help="What the spinner says.")
    ] = None,
    title: Annotated[
        Switch, typer.Option("--title/--no-title", help="The window's title says the variant.")
    ] = None,
    splash: Annotated[
        Switch, typer.Option("--splash/--no-splash", help="A line before it starts.")
    ] = None,
) -> None:
    """Choose how a variant looks.

    It takes the place of what was chosen in Claude Code.
    """
    from ccmirror_py.operations.restyle import restyle

    context = wiring.context()
    if theme in FORMS and form is None:
        theme, form = None, theme
    changed: dict[str, object] = {}
    if theme is not None:
        changed["theme"] = parse_theme(context, theme)
    if form is not None:
        changed["form"] = parse_form(form)
    switches = {"status_line": status_line, "verbs": verbs, "title": title, "splash": splash}
    changed |= {word: on for word, on in switches.items() if on is not None}
    if not changed:
        raise UsageError("What shall it look like?", "Such as: ccm theme set NAME light")
    variant = restyle(context, name, changed)
    out(f"{name}: changed. New sessions look like it; see: ccm theme show {name}")
    _say_when_too_old(variant)


def theme_preview(
    theme: Annotated[
        str,
        typer.Argument(
            metavar="THEME",
            help="A provider's id, or a variant's name.",
            autocompletion=complete_look,
        ),
    ],
    form: FormOption = None,
) -> None:
    """Paint a sample of the screen here.

    Every form, unless one is named.
    """
    from ccmirror_py.cli.sample import depth, sample
    from ccmirror_py.operations.looks import look_of

    context = wiring.context()
    if context.variants.exists(theme):
        variant = context.variants.get(theme)
        look = look_of(context, variant, context.providers.get(variant.choices.provider))
    else:
        look = _provider(context, theme).look
    bits = depth(context.environ, sys.stdout.isatty())
    forms = [parse_form(form)] if form else FORMS
    out("\n\n".join(sample(look, each, bits) for each in forms))


def guidance_show(name: Name, as_json: AsJson = False) -> None:
    """Print what the model of a variant is told."""
    from ccmirror_py.guidance import guidance

    context = wiring.context()
    variant = context.variants.get(name)
    choices = variant.choices
    text = guidance(name, context.providers.get(choices.provider), choices)
    if as_json:
        out_json({"schema": 1, "name": name, "guidance": text})
    elif not text:
        note(f"{name}: nothing is told. Write something: ccm guidance edit {name}")
    else:
        out(text.rstrip())


def guidance_edit(
    name: Name,
    file: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Take the text from a file.")
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Back to the provider's.")] = False,
    off: Annotated[bool, typer.Option("--off", help="Tell the model nothing.")] = False,
) -> None:
    """Write your own text in place of the provider's.

    Without an option, in your editor.
    """
    from ccmirror_py.guidance import guidance
    from ccmirror_py.operations.restyle import restyle

    if sum((file is not None, reset, off)) > 1:
        raise UsageError("The text can come one way only.", "Choose one of --from, --reset, --off.")
    context = wiring.context()
    choices = context.variants.get(name).choices
    text: str | None = None if reset else ""
    if file is not None:
        text = _read(file)
    elif not reset and not off:
        before = guidance(name, context.providers.get(choices.provider), choices)
        text = _edited(context, name, before)
        if text == before:
            note("Nothing was changed.")
            return
    restyle(context, name, {"guidance": text})
    told = "the provider's text" if reset else "nothing" if not text else "your text"
    out(f"{name}: its model is told {told}. New sessions get it; see: ccm guidance show {name}")


def parse_theme(context: Context, text: str) -> str | None:
    if text == "own":
        return None
    return NO_THEME if text == NO_THEME else _provider(context, text, ("own", NO_THEME)).id


def _provider(context: Context, text: str, others: Iterable[str] = ()) -> Provider:
    known = context.providers.ids()
    if text not in known:
        raise NotFoundError("theme", text, [*known, *others], "See: ccm theme list")
    return context.providers.get(text)


def parse_form(text: str) -> Form:
    if text not in FORMS:
        raise UsageError(f"'{text}' is no form of a theme.", f"It is one of: {', '.join(FORMS)}")
    return text


def _read(file: Path) -> str:
    try:
        return _checked(file.read_bytes()[: LONGEST_GUIDANCE * 4 + 1])
    except FileNotFoundError:
        raise NotFoundError("file", str(file)) from None


def _edited(context: Context, name: str, before: str) -> str:
    """What comes back from the user's editor."""
    from ccmirror_py.operations.editing import draft

    editor = context.environ.get("VISUAL") or context.environ.get("EDITOR") or "vi"
    if not params.is_interactive():
        raise UsageError(
            "There is no terminal to edit on.",
            f"Write a file, then: ccm guidance edit {name} --from FILE",
        )
    with draft(context, before) as path:
        try:
            done = subprocess.run([*shlex.split(editor), str(path)], check=False)
        except (OSError, ValueError):
            raise UsageError(f"The editor '{editor}' can't be started.", "Set EDITOR.") from None
        if done.returncode:
            raise UsageError(f"{editor} ended with {done.returncode}.", "Nothing was changed.")
        return _checked(path.read_bytes())


def _checked(content: bytes) -> str:
    try:
        return check_guidance(content.decode())
    except UnicodeDecodeError:
        raise UsageError("The text is not UTF-8.") from None
    except ValueError as error:
        raise UsageError(f"The text {error}.") from None


def _say_when_too_old(variant: Variant) -> None:
    if too_old(variant.version) and variant.choices.looks.theme != NO_THEME:
        note(too_old(variant.version))
