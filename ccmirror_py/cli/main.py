"""The command `ccm`: one place where errors become a sentence, a hint and an exit code."""

import os
import sys

from ccmirror_py import __version__


def main() -> None:
    if sys.argv[1:] in (["--version"], ["-V"]):
        print(f"ccm {__version__}")  # noqa: T201
        return
    from ccmirror_py.cli.app import app
    from ccmirror_py.cli.render import error_lines, note
    from ccmirror_py.errors import CcmError, DiskError

    debug = "--debug" in sys.argv[1:2]
    if debug:
        del sys.argv[1]
    try:
        app(prog_name="ccm")
    except CcmError as error:
        if debug:
            raise
        note(error_lines(error))
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # the reader has seen enough (`ccm list | head -1`); nothing more can be said to it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if debug:
            raise
        note(error_lines(DiskError(error)))
        sys.exit(DiskError.exit_code)
