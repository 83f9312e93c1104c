"""The receipt beside every installed program: what it was made from."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ccmirror_py import fs
from ccmirror_py.sealed import opened, sealed

RECEIPT = "receipt.json"


@dataclass(frozen=True)
class Receipt:
    """What was installed: the archive's integrity, who signed it (a key's id, or None), the sha256
    of each file by its path, and its inode, size and modification time (ns) as it was written.

    `tweaked` names what changed the files of a variant's own copy since, empty for nothing. Then
    `files` is of the copy, and the rest still of the release it was made from.
    """

    package: str
    version: str
    integrity: str
    signed_by: str | None
    files: dict[str, str]
    states: dict[str, list[int] | None]
    tweaked: str = ""


def read_receipt(path: Path | str) -> Receipt:
    """OSError when it can't be read, ValueError when it is none."""
    content = fs.read_file(path)
    try:
        # a flipped bit in `integrity` would else make the registry's right bytes wrong ones
        document: dict[str, Any] = opened(json.loads(content))
        return Receipt(
            package=str(document["package"]),
            version=str(document["version"]),
            integrity=str(document["integrity"]),
            signed_by=str(document["signed_by"]) if document.get("signed_by") else None,
            files={str(name): str(value) for name, value in document["files"].items()},
            states=dict(document.get("states") or {}),
            tweaked=str(document.get("tweaked") or ""),
        )
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("is no receipt") from error


def write_receipt(directory: Path, receipt: Receipt) -> None:
    """Into `directory`, which has none."""
    content = json.dumps(sealed(asdict(receipt)), indent=1).encode()
    fs.write_file(directory / RECEIPT, content, 0o444)
