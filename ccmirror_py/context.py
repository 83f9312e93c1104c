"""What every operation works with, built once per command by `cli.wiring`."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ccmirror_py.errors import VerificationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from ccmirror_py.home import Home
    from ccmirror_py.journal import Journal
    from ccmirror_py.keyring_entries import KeyringEntries
    from ccmirror_py.listing import Place
    from ccmirror_py.platforms import Platform
    from ccmirror_py.providers import Providers
    from ccmirror_py.registry import Registry
    from ccmirror_py.release import Release
    from ccmirror_py.store import Store
    from ccmirror_py.trash import Trash
    from ccmirror_py.variants import Variants
    from ccmirror_py.version import Version


@dataclass(frozen=True)
class Context:
    """`environ` is the caller's environment (with keys in it, so it is not shown), `user_home` the
    home directory it names.

    `ccm` is the command that starts ccm again. `say` tells people something on stderr, `show` wraps
    a download, from some byte on, with a progress bar where there is a terminal. `connect` makes
    the registry client, which takes a tenth of a second to import. So it is with the others: a
    command pays for those it uses (docs/performance.md).
    """

    home: Home
    platform: Platform
    environ: Mapping[str, str] = field(repr=False)
    user_home: Path
    ccm: tuple[str, ...]
    say: Callable[[str], None]
    show: Callable[[Registry, Release, int], AbstractContextManager[Iterator[bytes]]]
    connect: Callable[[], Registry]

    @cached_property
    def place(self) -> Place:
        from ccmirror_py.listing import Place

        home = self.home
        return Place(str(home.root), str(home.bin_dir), self.platform.os, self.environ)

    @cached_property
    def variants(self) -> Variants:
        from ccmirror_py.variants import Variants

        return Variants(self.home)

    @cached_property
    def journal(self) -> Journal:
        from ccmirror_py.journal import Journal

        return Journal(self.home, self.variants)

    @cached_property
    def trash(self) -> Trash:
        from ccmirror_py.trash import Trash

        return Trash(self.home)

    @cached_property
    def keyring(self) -> KeyringEntries:
        from ccmirror_py.keyring_entries import KeyringEntries

        return KeyringEntries(self.home, self.variants, self.trash, self.platform.os)

    @cached_property
    def store(self) -> Store:
        from ccmirror_py.store import Store

        return Store(self.home, self.platform)

    @cached_property
    def providers(self) -> Providers:
        from ccmirror_py.providers import Providers

        return Providers(self.home.own_providers)

    @cached_property
    def registry(self) -> Registry:
        return self.connect()

    @property
    def bin_dir_is_on_path(self) -> bool:
        """Under any of its names."""
        folders = self.environ.get("PATH", "").split(os.pathsep)
        return any(Path(f).resolve() == self.home.bin_dir for f in folders if f)

    @property
    def is_refused_yolo(self) -> bool:
        """Whether Claude Code would not start with `--yolo` (2.1.330: its check at the start)."""
        return os.geteuid() == 0 and self.environ.get("IS_SANDBOX") != "1"

    def begin_change(self) -> None:
        """Before the first change of a command: directories, and what killed commands left."""
        self.home.prepare()
        self.journal.recover(self.say)
        for name in self.keyring.names():
            with self.home.lock_if_free(name) as free:
                if free:
                    self.keyring.sweep(name, self.say)

    @contextmanager
    def changing(self, name: str) -> Iterator[None]:
        """Nobody else changes the variant `name` within the block.

        Who held it until now may have been killed: what that one left is made good first.
        """
        with self.home.lock(name, self.say):
            self.journal.settle(name, self.say)
            try:
                yield
            finally:
                self.keyring.sweep(name, self.say)

    def installed(self, release: Release) -> Path:
        """The directory of `release` in the store, downloaded when it is not there.

        VerificationError when it has to be signed and is not, or is not what it once was.
        """
        self._check_against_what_was(release)
        return self.store.ensure(release, self._download, self.say)

    def check_signed(self, version: Version, signed_by: str | None) -> None:
        """VerificationError for what nobody signed, where the user wants that."""
        required = self.environ.get("CCM_REQUIRE_SIGNATURE", "0") not in ("", "0")
        if signed_by is None and required:
            raise VerificationError(
                f"There is no signature of a known key for Claude Code {version}.",
                "Use the public npm registry, or unset CCM_REQUIRE_SIGNATURE.",
            )

    def _check_against_what_was(self, release: Release) -> None:
        """Before a download: what the registry says now, beside what was verified earlier."""
        self.check_signed(release.version, release.signed_by)
        if self.store.has(release):
            return
        known = list(self.store.receipts())
        if release.signed_by is None and any(receipt.signed_by for receipt in known):
            self.say(
                "This registry sends no signatures, as another one did before: "
                "only the integrity it names itself is checked."
            )
        was = {r.integrity for r in known if (r.package, r.version) == release.key}
        if was and str(release.integrity) not in was:
            raise VerificationError(
                f"The registry names other bytes for Claude Code {release.version} than those "
                "that were installed before; npm never changes a published version.",
                "Check: npm config get registry. To take them even so, remove the variants "
                "that have the old ones, then run: ccm prune",
            )

    def held(self, release: Release) -> AbstractContextManager[Path]:
        """The same, and `ccm prune` does not take it away within the block."""
        self._check_against_what_was(release)
        return self.store.held(release, self._download, self.say)

    def _download(self, release: Release, start: int) -> AbstractContextManager[Iterator[bytes]]:
        return self.show(self.registry, release, start)
