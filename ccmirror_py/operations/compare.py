"""`ccm verify --releases`: what is installed, beside what Anthropic itself says it released."""

from dataclasses import dataclass
from typing import Literal

from ccmirror_py import fs
from ccmirror_py.context import Context
from ccmirror_py.errors import CcmError, VerificationError
from ccmirror_py.platforms import ROOT_PACKAGE, SCOPE
from ccmirror_py.receipt import Receipt
from ccmirror_py.releases import NotComparedError, Releases
from ccmirror_py.version import FIRST_NATIVE, parse_version

_PREFIX = ROOT_PACKAGE.removeprefix(f"{SCOPE}/") + "-"


@dataclass(frozen=True)
class Compared:
    """One installed program. `not compared` says nothing for or against it; `no counterpart`:
    Anthropic released no such program."""

    package: str
    version: str
    result: Literal["same", "different", "not compared", "no counterpart"]
    detail: str = ""


def compare(context: Context, releases: Releases) -> list[Compared]:
    """Each different program in the store and in the variants, by the sha256 of its receipt."""
    context.begin_change()
    found = {
        (receipt.package, receipt.version, tuple(receipt.files.items())): receipt
        for receipt in context.store.receipts()
    }
    return [_compared(context, releases, found[key]) for key in sorted(found)]


def _compared(context: Context, releases: Releases, receipt: Receipt) -> Compared:
    package, version = receipt.package, parse_version(receipt.version)
    if receipt.tweaked:
        return Compared(package, str(version), "no counterpart", f"tweaked by {receipt.tweaked}")
    if version < FIRST_NATIVE:
        reason = f"npm's package has no native program before {FIRST_NATIVE}"
        return Compared(package, str(version), "no counterpart", reason)
    lock_name = f".releases-{version}"
    with context.home.lock(lock_name, context.say):
        staged = context.home.stage(lock_name)
        try:
            signed = releases.checksum(version, package.removeprefix(_PREFIX), staged)
        except NotComparedError as error:
            return Compared(package, str(version), "not compared", error.sentence + _more(error))
        except VerificationError as error:
            return Compared(package, str(version), "different", error.sentence)
        finally:
            fs.remove_tree(staged)
    if signed in receipt.files.values():
        return Compared(package, str(version), "same")
    detail = f"Anthropic signed sha256 {signed}, this is {', '.join(receipt.files.values())}"
    return Compared(package, str(version), "different", detail)


def _more(error: CcmError) -> str:
    return f" {error.hint}" if error.hint else ""
