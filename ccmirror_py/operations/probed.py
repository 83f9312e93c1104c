"""Whether a variant was ever tried on its provider, so that `ccm doctor` need not say it again.

~/.ccm/.cache/probed/zai        the address of the endpoint that was asked
"""

from contextlib import suppress
from pathlib import Path

from ccmirror_py import fs
from ccmirror_py.context import Context
from ccmirror_py.variant import Variant


def remember(context: Context, variant: Variant) -> None:
    """A disk that does not take it is no fault of the probe."""
    if is_remembered(context, variant):
        return
    path = _path(context, variant)
    with suppress(OSError):
        fs.ensure_directory(path.parent)
        fs.replace_file(path, _content(variant), 0o600)


def is_remembered(context: Context, variant: Variant) -> bool:
    """Of the endpoint it has now."""
    try:
        return fs.read_file(_path(context, variant)) == _content(variant)
    except OSError:
        return False


def _path(context: Context, variant: Variant) -> Path:
    return context.home.cache / "probed" / variant.name


def _content(variant: Variant) -> bytes:
    return f"{variant.base_url or ''}\n".encode()
