"""Which entries ccm has in the system's keyring, and which of them nobody needs any more.

A file in `.keyring/` is there before its entry and goes after it, so a killed command, or one that
can't reach the keyring, leaves nothing behind that a later one would not find. An entry is needed
while a record speaks of it, those in the trash and those to roll back to included; what a new key
took the place of is marked by a second file, and needed by the present record alone.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress

from ccmirror_py import fs
from ccmirror_py.errors import CcmError, NotFoundError
from ccmirror_py.home import Home
from ccmirror_py.name import is_account, is_name
from ccmirror_py.records import is_number
from ccmirror_py.secret import Secret
from ccmirror_py.trash import Trash
from ccmirror_py.variant import FromKeyring
from ccmirror_py.variants import Broken, Variants

_MARK = ".forgotten"


class KeyringEntries:
    """`system` is linux or darwin. All but `names` is called under the lock of a variant."""

    def __init__(self, home: Home, variants: Variants, trash: Trash, system: str) -> None:
        self._home = home
        self._variants = variants
        self._trash = trash
        self._system = system

    def add(self, account: str, key: Secret) -> None:
        """UsageError, and nothing added, unless a launcher can read it from now on."""
        from ccmirror_py import os_keyring

        fs.ensure_directory(self._home.keyring)
        fs.write_file(self._home.keyring / account, b"", 0o600)
        try:
            os_keyring.store(account, key, self._system)
        except CcmError:
            with suppress(CcmError):
                os_keyring.delete(account, self._system)  # it may have failed after the fact
            fs.remove_file(self._home.keyring / account)
            raise
        if os_keyring.read(account, self._system).reveal() != key.reveal():
            raise CcmError(
                "The keyring gave back another key than was stored.", "Is there a second keyring?"
            )

    def names(self) -> list[str]:
        """Variants, present and former, that have entries."""
        found = {account.rpartition("~")[0] for account in self._accounts()}
        return sorted(filter(is_name, found))

    def sweep(self, name: str, say: Callable[[str], None]) -> None:
        """Delete the entries of `name` that nobody needs; what can't be deleted yet is told."""
        for account in list(self._unneeded(name)):
            from ccmirror_py import os_keyring

            try:
                os_keyring.delete(account, self._system)
                fs.remove_file(self._home.keyring / f"{account}{_MARK}")
                fs.remove_file(self._home.keyring / account)
            except (CcmError, OSError) as error:
                why = error.sentence if isinstance(error, CcmError) else str(error.strerror)
                say(
                    f"An old key of {name} is still in the keyring ({why.rstrip('.')}); "
                    "the next ccm command that changes something tries again."
                )

    def is_left(self, account: str) -> bool:
        """Whether it could not be deleted so far."""
        return os.path.lexists(self._home.keyring / account)

    def _accounts(self) -> list[str]:
        try:
            return sorted(os.listdir(self._home.keyring))
        except OSError:
            return []

    def _unneeded(self, name: str) -> Iterator[str]:
        accounts = [account for account in self._accounts() if is_account(account, name)]
        if not accounts:
            return
        needed, present = self._needed(name), _present(self._variants, name)
        if present is None:
            return
        for account in accounts:
            forgotten = self.is_left(f"{account}{_MARK}")
            if account != present and (forgotten or account not in needed):
                yield account

    def _needed(self, name: str) -> set[str]:
        """By any record of that name; by all that may be when one can't be read."""
        trashed = [entry.path for entry in self._trash.entries() if entry.name == name]
        places = [self._home.directory(name), *trashed]
        found = set()
        for place in places:
            generations = place / "generations"
            try:
                for number in filter(is_number, os.listdir(generations)):
                    credential = self._variants.read(name, generations / number).credential
                    if isinstance(credential, FromKeyring):
                        found.add(credential.account)
            except FileNotFoundError:
                continue
            except (CcmError, OSError):
                return set(self._accounts())
        return found


def forget(home: Home, variants: Variants, name: str) -> None:
    """What only generations to roll back to speak of goes, as their files with keys do."""
    present = _present(variants, name)
    for number in variants.earlier(name) if present is not None else ():
        with suppress(CcmError):
            credential = variants.read(name, home.generation(name, number)).credential
            if isinstance(credential, FromKeyring) and credential.account != present:
                with suppress(FileExistsError, FileNotFoundError):
                    fs.write_file(home.keyring / f"{credential.account}{_MARK}", b"", 0o600)


def _present(variants: Variants, name: str) -> str | None:
    """The account that is in use, "" for none; None when the record that says so can't be read."""
    entry = variants.get_or_broken(name)
    if isinstance(entry, Broken):
        return "" if isinstance(entry.error, NotFoundError) else None
    return entry.credential.account if isinstance(entry.credential, FromKeyring) else ""
