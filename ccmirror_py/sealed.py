"""JSON of ccm's own with a checksum in it: one flipped bit can make it say something else, and some
of it decides what is overwritten, or taken for wrong.
"""

import json
import zlib
from collections.abc import Mapping


def sealed(document: Mapping[str, object]) -> dict[str, object]:
    return {**document, "crc32": _crc32(document)}


def opened(document: dict[str, object]) -> dict[str, object]:
    """Without its checksum, which need not be there. ValueError when it is another's."""
    plain = {name: value for name, value in document.items() if name != "crc32"}
    if document.get("crc32") not in (None, _crc32(plain)):
        raise ValueError("was changed since it was written")
    return plain


def _crc32(document: Mapping[str, object]) -> str:
    """Enough against accidents; who can write here needs none. `hashlib` takes 2 ms to import."""
    return f"{zlib.crc32(json.dumps(document, sort_keys=True).encode()):08x}"
