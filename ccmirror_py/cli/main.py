"""The command `ccm`: one place where errors become a sentence, a hint and an exit code."""

import gc
import os
import sys
from io import TextIOWrapper

from ccmirror_py import __version__


def main() -> None:
    _have_standard_streams()
    try:
        try:
            _answer()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # the reader has seen enough (`ccm list | head -1`); nothing more can be said to it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _have_standard_streams() -> None:
    """Closed ones (`<&-`) lead to /dev/null: else the next file that is opened takes their number,
    and what some program says is written into it."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            os.dup2(opened, number)
            if opened != number:
                os.close(opened)
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, "w" if number else "r"))


def _answer() -> None:
    if sys.argv[1:] in (["--version"], ["-V"]):
        sys.stdout.write(f"ccm {__version__}\n")  # before anything slow is imported
        return
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        # neither what is no text nor what a terminal can't show is an error
        if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")
    gc.set_threshold(50_000)  # imports and records make many objects, and hardly any garbage
    from ccmirror_py.cli.shortcut import answered

    if answered(sys.argv[1:]):
        return
    from ccmirror_py.cli.app import app_for
    from ccmirror_py.cli.render import error_lines, note
    from ccmirror_py.errors import CcmError, DiskError

    debug = "--debug" in sys.argv[1:2]
    if debug:
        del sys.argv[1]
    try:
        app_for(sys.argv[1:])(prog_name="ccm")
    except BrokenPipeError:
        raise
    except (CcmError, OSError) as caught:
        if debug:
            import traceback

            traceback.print_exc()
        error = DiskError(caught) if isinstance(caught, OSError) else caught
        note(error_lines(error))
        sys.exit(error.exit_code)
