"""JSON of ccm's own with a checksum in it: one flipped bit can make it say something else, and some
of it decides what is overwritten, or taken for wrong.
"""

import hashlib
import json
from collections.abc import Mapping


def sealed(document: Mapping[str, object]) -> dict[str, object]:
    return {**document, "sha256": _sha256(document)}


def opened(document: dict[str, object]) -> dict[str, object]:
    """Without its checksum, which need not be there. ValueError when it is another's."""
    plain = {name: value for name, value in document.items() if name != "sha256"}
    if document.get("sha256") not in (None, _sha256(plain)):
        raise ValueError("was changed since it was written")
    return plain


def _sha256(document: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
