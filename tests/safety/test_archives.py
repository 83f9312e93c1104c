"""Hostile archives through the real command: refused, or exactly the right program.

Their integrity is right, so it is the archive alone that has to be seen through.
"""

import io
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from ccmirror_py import archive as reader
from ccmirror_py import host
from ccmirror_py.archive import GzipStream
from ccmirror_py.errors import VerificationError
from ccmirror_py.release import MEGABYTE, Release
from ccmirror_py.store import Store
from tests.conftest import Sandbox
from tests.npm_registry import HOSTILE_ARCHIVES, WANTED, NpmRegistry
from tests.safety.child import NEW, Shop, ccm, excess
from tests.safety.table import Tally, sample

PACKAGE = host.this_platform().package.rpartition("/")[2]
REFUSED = 5
DAMAGED, ENDS, NOT_PLAIN = "damaged header", "ends (too early|within)", "not one plain file"
RENAMES, SIZE, LACKS = "renames its entries", "impossible size", "lacks package/claude"
LARGE, AFTER, NO_GZIP = "larger than any|grows beyond", "goes on after", "not a gzip archive"
CAUSES: Mapping[str, str] = {
    r"gzip truncated|gzip without|no bytes|data truncated|.*header truncated|padding|no end": ENDS,
    r"no members|missing|case variant only|other first|absolute wanted": LACKS,
    r"trailing slash": LACKS,
    r"gzip with a wrong CRC|not gzip": NO_GZIP,
    r"gzip in gzip": f"{DAMAGED}|{NO_GZIP}",
    r"gzip in two|gzip with|member after|garbage after|bomb after": f"{AFTER}|{ENDS}",
    r"wanted is empty|size of 8 GiB|bomb in the wanted": SIZE,
    r"bomb in a": f"{RENAMES}|{LARGE}",
    r"bomb beside": LARGE,
    r"pax|GNU long|NUL in a pax": RENAMES,
    r"checksum|size (negative|huge|right|no number)": DAMAGED,
    r"100,000": "more entries",
    r".*link|duplicate|.*device|directory|fifo|contiguous|unknown|GNU sparse|NUL|prefix": NOT_PLAIN,
}
"""What is wrong (a pattern of the archive's name) and the words that have to say so."""


def cause(name: str) -> str:
    return next((says for names, says in CAUSES.items() if re.match(names, name)), "never refused")


@pytest.fixture
def shop(sandbox: Sandbox, npm: NpmRegistry) -> Shop:
    return Shop(sandbox, npm)


def problems(shop: Shop, name: str) -> list[str]:
    """What `ccm create` does wrong with this archive; the shop is restored afterwards."""
    hostile = HOSTILE_ARCHIVES[name]
    shop.npm.publish(NEW, tarball=hostile.build())
    ended = ccm(shop.sandbox, "create", "beta", "--provider", "echo")
    if ended.code == 0:
        found = ["taken"] if hostile.must_refuse else excess(ended)
        root = shop.sandbox.ccm_home
        stored = root / ".store" / PACKAGE / NEW
        programs = [root / "beta" / "current" / "native" / "claude", stored / "claude"]
        found += [f"wrong: {path}" for path in programs if path.read_bytes() != WANTED]
        files = {path.name for path in stored.rglob("*")}
        found += [f"more than the program: {files}"] if len(files) != 2 else []
        found += [f"left in staging: {p.name}" for p in (root / ".staging").iterdir()]
        outside = {path.name for path in shop.sandbox.home.parent.iterdir()}
        found += [f"outside: {n}" for n in outside - {"home", "master", "said"}]
    else:
        found = shop.unlike_before(ended)
        found += [] if ended.code == REFUSED else [f"exit code {ended.code}"]
        said = ended.said.partition("\n")[0]
        found += [] if re.search(cause(name), said) else [f"'{cause(name)}' is not in: {said}"]
        found += [] if said.isprintable() else ["escapes reach the terminal"]
    evil = Path("/tmp/ccm-evil")
    found += [str(evil)] if evil.exists() else []
    evil.unlink(missing_ok=True)
    if ended.code == 0 or found:
        shop.restore()
    return found


@pytest.mark.parametrize("part", range(4))
def test_a_hostile_archive_is_refused_or_installed_right(
    shop: Shop, tally: Tally, part: int
) -> None:
    names = sample(list(HOSTILE_ARCHIVES), 40)[part::4]
    found = [f"{name}: {problem}" for name in names for problem in problems(shop, name)]
    tally(len(names), found)


# --- does the campaign see anything? -----------------------------------------------------------


def extractall(store: Store, staged: Path, release: Release, stream: GzipStream) -> None:
    """tarfile in place of our reader; that it finds the program in the end is no excuse."""
    whole = stream.read(64 * MEGABYTE)
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        tar.extractall(staged, filter="fully_trusted")
    raise VerificationError("the archive lacks package/claude")


@dataclass(frozen=True)
class Seed:
    """A mistake in the place of what is right, and the violation it has to come out as."""

    place: object
    name: str
    wrong: object
    archive: str
    violation: str


SEEDS = {
    "extractall": Seed(Store, "_fill", extractall, "traversal", "outside staging"),
    "extractall through a link": Seed(
        Store, "_fill", extractall, "symlink, then a file below it", "outside staging"
    ),
    "no cap on what follows the archive": Seed(
        reader, "PADDING_LIMIT", 300 * MEGABYTE, "bomb after the end marker", "MB of memory"
    ),
    "a link taken for a file": Seed(
        reader, "_REGULAR", (b"0", b"\0", b"1"), "hard link with data", "taken"
    ),
}


@pytest.mark.parametrize("name", SEEDS)
def test_the_campaign_finds_a_mistake(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tally: Tally, name: str
) -> None:
    seed = SEEDS[name]
    monkeypatch.setattr(seed.place, seed.name, seed.wrong)
    found = problems(shop, seed.archive)
    assert [problem for problem in found if seed.violation in problem], found
    tally(1, [], suite="seeds")
