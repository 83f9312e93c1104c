"""Whose signature counts: npm's keys as ccm knows them, and as npm's own list adds to them.

npm's keys change (Corepack could install nothing new for days in 2025 because it knew only the old
one), so an unknown key is looked up in npm's list, never in that of a mirror, and remembered.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from ccmirror_py import fs
from ccmirror_py.errors import CcmError, UsageError, VerificationError
from ccmirror_py.npmrc import PUBLIC_REGISTRY
from ccmirror_py.signature import PUBLISHED_KEYS, RegistryKey, Signature, parse_keys, signer
from ccmirror_py.times import now
from ccmirror_py.transport import Transport, TryAgainError, shown

NPM_LIST = f"{PUBLIC_REGISTRY}-/npm/v1/keys"
LIST_LIMIT = 1024 * 1024


class Signers:
    """`remembered` is the file for keys that were looked up.

    `source` is the list that counts instead of npm's, with none of npm's keys: an address or a file
    in npm's form. Empty: npm's.
    """

    def __init__(
        self, remembered: Path, source: str = "", say: Callable[[str], None] = lambda _: None
    ) -> None:
        self._remembered = remembered
        self._source = source or NPM_LIST
        self._known: dict[str, RegistryKey] = {} if source else dict(PUBLISHED_KEYS)
        self._say = say
        self._looked_up = False

    def signed_by(
        self,
        message: str,
        signatures: tuple[Signature, ...],
        transport: Transport,
        published: Callable[[], object],
    ) -> str | None:
        """The id of the key that signed `message`; None when nobody did, or nobody can tell.

        VerificationError for a signature that is wrong, or by a key that is not npm's.
        """
        unknown = [each.keyid for each in signatures if each.keyid not in self._known]
        if unknown and not self._looked_up:
            self._known |= self._read_remembered()
            unknown = [keyid for keyid in unknown if keyid not in self._known]
            if unknown:
                self._look_up(unknown[0], transport)
        if self._looked_up and any(keyid not in self._known for keyid in unknown):
            raise VerificationError(
                f"The signature of {message.partition(':')[0]} is by a key that "
                f"{self._named} does not list.",
                "Check the registry settings: npm config get registry",
            )
        return signer(message, signatures, self._known, published)

    @property
    def _named(self) -> str:
        return shown(self._source) if "://" in self._source else self._source

    def _look_up(self, keyid: str, transport: Transport) -> None:
        try:
            found = self._of_file()
            if found is None:
                found = parse_keys(json.loads(self._asked(transport)))
        except UsageError:
            raise
        except (CcmError, TryAgainError, OSError, ValueError, RecursionError) as error:
            self._say(
                f"The release is signed with a key ccm does not know ({keyid}), and "
                f"{self._named} can't be asked about it: {error}. "
                "Only the integrity the registry names is checked."
            )
            return
        self._looked_up = True
        self._known |= found
        for new in set(found) & {keyid}:
            self._say(f"{self._named} lists a key ccm did not know: {new}.")
        document = {"source": self._source, "looked_up": now(), **_json(found)}
        with suppress(OSError):  # it is looked up again then
            fs.ensure_directory(self._remembered.parent)
            fs.replace_file(self._remembered, json.dumps(document, indent=1).encode(), 0o600)

    def _of_file(self) -> dict[str, RegistryKey] | None:
        """None where the source is none. UsageError when it can't be read: somebody named it."""
        if "://" in self._source:
            return None
        try:
            return parse_keys(json.loads(fs.read_file(Path(self._source))))
        except (OSError, ValueError, RecursionError) as error:
            raise UsageError(
                f"CCM_NPM_KEYS names {self._source}, which can't be read: {error}",
                'It holds {"keys": [{"keyid": …, "key": …}]}, as npm lists them.',
            ) from None

    def _asked(self, transport: Transport) -> str:
        """Once only: without an answer the release is treated as unsigned, not as refused."""
        with transport.get(self._source, {"Accept": "application/json"}) as answer:
            text = bytearray()
            for chunk in answer.chunks():
                text += chunk
                if len(text) > LIST_LIMIT:
                    raise ValueError("answers without end")
        return text.decode()

    def _read_remembered(self) -> Mapping[str, RegistryKey]:
        try:
            document = json.loads(fs.read_file(self._remembered))
            return parse_keys(document) if document["source"] == self._source else {}
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return {}


def _json(keys: Mapping[str, RegistryKey]) -> dict[str, object]:
    return {"keys": [{"keyid": id_, "key": k.key, "expires": k.expires} for id_, k in keys.items()]}
