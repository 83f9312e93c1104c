"""The short way to the few commands shells and scripts run all the time, before typer is imported.

`ccm which NAME`, `ccm list`, and the completion of a variant's name. They call what typer's
commands call. Whatever is unusual (an option, an error, help) is left to typer, which answers all
of it; tests/test_shortcut.py compares the two.
"""

from __future__ import annotations

from ccmirror_py.cli import wiring
from ccmirror_py.errors import CcmError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_ONE_NAME = frozenset(
    (
        "audit",
        "env",
        "guidance edit",
        "guidance show",
        "key remove",
        "key set",
        "key show",
        "key test",
        "mcp add",
        "mcp list",
        "mcp remove",
        "models",
        "pin",
        "rollback",
        "run",
        "show",
        "theme set",
        "theme show",
        "tweak",
        "unpin",
        "which",
    )
)
"""Commands whose first word is the name of a variant …"""
_NAMES = ("doctor", "probe", "remove", "rm", "update")
"""… and those whose words all are."""

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-_ \n")


def answered(words: list[str]) -> bool:
    """Whether this was one of them; then all is said. Nothing was said otherwise."""
    environ = wiring.environment()
    try:
        if environ.get("_CCM_COMPLETE"):
            return _completed(environ)
        match words:
            case ["which", name] if not name.startswith("-"):
                return _told_program(name)
            case ["list" | "ls"] | ["list" | "ls", "--json"]:
                return _listed(as_json=len(words) == 2)
    except BrokenPipeError:
        raise
    except (CcmError, OSError):
        pass  # typer's way comes to the same error and tells it
    return False


def _told_program(name: str) -> bool:
    from ccmirror_py.cli.render import out
    from ccmirror_py.listing import program

    out(program(wiring.place(), name))
    return True


def _listed(as_json: bool) -> bool:
    from ccmirror_py import records
    from ccmirror_py.cli.render import tell_variants

    place = wiring.place()
    tell_variants(place, records.names(place.root), as_json, "There are no variants yet.")
    return True


def _completed(environ: Mapping[str, str]) -> bool:
    """As typer's classes for bash, zsh and fish do it (typer/_completion_classes.py, 0.28)."""
    shell = environ["_CCM_COMPLETE"].removeprefix("complete_")
    asked = _asked(shell, environ)
    if asked is None:
        return False
    from ccmirror_py import records

    names = records.names_beginning(wiring.places(environ)[0], asked)
    if shell == "zsh":
        found = "\n".join(f'"{name}"' for name in names)
        print(f"_arguments '*: :(({found}))'" if names else "_files")  # noqa: T201
    else:
        print("\n".join(names))  # noqa: T201
    return True


def _asked(shell: str, environ: Mapping[str, str]) -> str | None:
    """The beginning of the name of a variant that is to be completed; None for anything else."""
    bash = shell == "bash"
    line = environ.get("COMP_WORDS" if bash else "_TYPER_COMPLETE_ARGS", "")
    if not _PLAIN.issuperset(line):
        return None
    words = line.split()
    if bash:
        at = environ.get("COMP_CWORD", "")
        position = int(at) if at.isdecimal() else len(words) + 1
    elif shell == "zsh" or environ.get("_TYPER_COMPLETE_FISH_ACTION") == "get-args":
        position = len(words) - (not line.endswith(" "))
    else:
        return None
    if not 2 <= position <= len(words):
        return None
    before, incomplete = words[1:position], "".join(words[position : position + 1])
    if any(word.startswith("-") for word in (*before, incomplete)):
        return None
    is_name = " ".join(before) in _ONE_NAME or before[0] in _NAMES
    return incomplete if is_name else None
