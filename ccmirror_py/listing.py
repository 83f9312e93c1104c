"""What `ccm list` and `ccm which` tell, worked out from records, links and variables alone.

Both doors of the command line come here: the short one, before typer is imported, and typer's own.
"""

from __future__ import annotations

import os

from ccmirror_py import records
from ccmirror_py.errors import CcmError
from ccmirror_py.fields import key_text
from ccmirror_py.rule import FIRST_DEFENDED, is_before, program_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ccmirror_py.fields import Fields

HEAD = ("NAME", "PROVIDER", "VERSION", "RULE", "KEY", "CHANGED", "STATE")


class Place:
    """Where the variants and their commands are, and for which system and shell they are looked at.

    `root` and `bin_dir` are absolute and resolved, `os_name` is as npm has it.
    """

    __slots__ = ("bin_dir", "environ", "os_name", "root")

    def __init__(self, root: str, bin_dir: str, os_name: str, environ: Mapping[str, str]) -> None:
        self.root, self.bin_dir, self.os_name, self.environ = root, bin_dir, os_name, environ


def rows(place: Place, names: Iterable[str]) -> list[tuple[str, ...]]:
    """A row below HEAD for each variant; a broken one says how it is mended."""
    from ccmirror_py.times import age

    return [
        (name, "?", "?", "?", "?", "?", broken_text(entry))
        if isinstance(entry, CcmError)
        else (
            name,
            entry["provider"],
            f"{entry['version']}{' tweaked' if entry['tweaked'] else ''}",
            entry["spec"],
            key_text(entry["credential"]),
            age(entry["updated"]),
            state(place, entry),
        )
        for name, entry in _read(place, names)
    ]


def elements(place: Place, names: Iterable[str]) -> list[dict[str, object]]:
    """The same for `--json`; docs/reference.md describes it."""
    return [
        {"name": name, "error": entry.sentence, "hint": entry.hint}
        if isinstance(entry, CcmError)
        else element(place, entry)
        for name, entry in _read(place, names)
    ]


def element(place: Place, fields: Fields) -> dict[str, object]:
    name = fields["name"]
    return {
        **fields,
        "launcher": f"{place.bin_dir}/{name}",
        "directory": f"{place.root}/{name}",
        "state": state(place, fields),
        "signed_by": records.signed_by(place.root, name),
    }


def program(place: Place, name: str) -> str:
    """What a variant starts. NotFoundError, DamagedError."""
    version = records.get(place.root, name)["version"]
    generation = f"{place.root}/{name}/generations/{records.number(place.root, name)}"
    return f"{generation}/native/{program_name(version, place.os_name)}"


def broken_text(error: CcmError) -> str:
    return f"broken: {error.sentence} {error.hint}"


def state(place: Place, fields: Fields) -> str:
    """Health at a glance: what a look at a few files and variables can tell."""
    name, version, credential = fields["name"], fields["version"], fields["credential"]
    current = f"{place.root}/{name}/current"
    program = f"{current}/native/{program_name(version, place.os_name)}"
    if not os.path.isfile(f"{current}/launch") or not os.path.isfile(program):
        return f"broken: its program is gone. Run: ccm doctor --fix {name}"
    if not records.owns_launcher(place.root, place.bin_dir, name):
        return f"no command on PATH. Run: ccm doctor --fix {name}"
    kind = credential["from"]
    if kind == "variable" and not place.environ.get(credential["name"]):
        return f"${credential['name']} is not set"
    if kind == "file" and not os.path.isfile(f"{current}/credential"):
        return f"no key. Run: ccm key set {name}"
    return "ok, but too old to be isolated in full" if is_before(version, FIRST_DEFENDED) else "ok"


def _read(place: Place, names: Iterable[str]) -> Iterator[tuple[str, Fields | CcmError]]:
    """Of `names` that were there a moment ago; what was removed since is left out."""
    for name in names:
        try:
            yield name, records.read(name, f"{place.root}/{name}/current")
        except CcmError as error:
            if records.exists(place.root, name):
                yield name, error
