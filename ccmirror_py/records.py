"""Which variants there are, and their records, as cheaply as a disk allows.

`Variants` makes values of what is read here; `ccm list`, `ccm which` and the completion of names
need no more than this, so nothing slow is imported and paths are texts. `root` is CCM_HOME.
"""

from __future__ import annotations

import json
import os
import re
import stat

from ccmirror_py import fs
from ccmirror_py.errors import DamagedError, NewerError, NotFoundError
from ccmirror_py.fields import checked, is_newer
from ccmirror_py.name import is_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ccmirror_py.fields import Fields


def names(root: str) -> list[str]:
    """Every variant, readable or not."""
    found = []
    try:
        with os.scandir(root) as entries:
            for entry in entries:
                if is_name(entry.name) and not entry.is_symlink() and _has_current(entry.path):
                    found.append(entry.name)  # noqa: PERF401 (three conditions read better so)
    except FileNotFoundError:
        return []
    return sorted(found)


def names_beginning(root: str, text: str) -> list[str]:
    return [name for name in names(root) if name.startswith(text)]


def exists(root: str, name: str) -> bool:
    """A directory nobody may look into counts too: it is there, and broken.

    What can't be a name is no variant, whatever lies at that path.
    """
    directory = f"{root}/{name}"
    return is_name(name) and not os.path.islink(directory) and _has_current(directory)


def get(root: str, name: str) -> Fields:
    """NotFoundError with what could be meant; DamagedError when the record can't be read."""
    if exists(root, name):
        try:
            return read(name, f"{root}/{name}/current")
        except DamagedError:
            if exists(root, name):  # else removed meanwhile
                raise
    raise NotFoundError("variant", name, names(root), "See: ccm list")


def read(name: str, generation: str) -> Fields:
    """The record of one generation of `name`."""
    path = f"{generation}/variant.json"
    hint = f"Run: ccm doctor --fix {name}"
    try:
        document = json.loads(fs.read_file(path))
        if isinstance(document, dict) and is_newer(document.get("schema")):
            raise NewerError(path)
        fields = checked(document)
    except FileNotFoundError:
        raise DamagedError(path, "is missing", hint) from None
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else _json_reason(error)
        raise DamagedError(path, str(reason), hint) from None
    if fields["name"] != name:
        raise DamagedError(path, f"belongs to the variant '{fields['name']}'", hint)
    return fields


def number(root: str, name: str) -> int:
    """The current generation, 0 when there is none."""
    current = f"{root}/{name}/current"
    try:
        target = os.readlink(current)
    except FileNotFoundError:
        return 0
    digits = target.removeprefix("generations/")
    if not is_number(digits):
        raise DamagedError(current, f"points to {target}", f"Run: ccm doctor --fix {name}")
    return int(digits)


def owns_launcher(root: str, bin_dir: str, name: str) -> bool:
    """Whether the command on PATH is ccm's link to this variant."""
    try:
        return os.readlink(f"{bin_dir}/{name}") == f"{root}/{name}/current/launch"
    except OSError:
        return False


def signed_by(root: str, name: str) -> str | None:
    """The key that signed the current program's release; None when unsigned or not known."""
    from ccmirror_py.receipt import RECEIPT, read_receipt

    try:
        return read_receipt(f"{root}/{name}/current/native/{RECEIPT}").signed_by
    except (OSError, ValueError):
        return None


def is_number(text: str) -> bool:
    """Of a generation; what else lies there is not ccm's."""
    return re.fullmatch(r"[1-9][0-9]{0,8}", text) is not None


def _has_current(directory: str) -> bool:
    try:
        return stat.S_ISLNK(os.lstat(f"{directory}/current").st_mode)
    except PermissionError:
        return True
    except (FileNotFoundError, NotADirectoryError):
        return False


def _json_reason(error: Exception) -> str:
    return str(error) if not isinstance(error, json.JSONDecodeError) else "is not valid JSON"
