"""The receipt beside every installed program: what it was made from."""

import json
from dataclasses import dataclass
from pathlib import Path

from ccmirror_py import fs

RECEIPT = "receipt.json"


@dataclass(frozen=True)
class Receipt:
    """What was installed: the archive's integrity, who signed it (a key's id, or None), the sha256
    of each file by its path, and its inode, size and modification time (ns) as it was written.
    """

    package: str
    version: str
    integrity: str
    signed_by: str | None
    files: dict[str, str]
    states: dict[str, list[int]]


def read_receipt(path: Path | str) -> Receipt:
    """OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError when it is none."""
    document = json.loads(fs.read_file(path))
    return Receipt(
        package=str(document["package"]),
        version=str(document["version"]),
        integrity=str(document["integrity"]),
        signed_by=str(document["signed_by"]) if document.get("signed_by") else None,
        files={str(name): str(value) for name, value in document["files"].items()},
        states=dict(document.get("states") or {}),
    )
