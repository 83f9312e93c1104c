"""What the names of variants and of environment variables look like."""

import re

from ccmirror_py.errors import UsageError

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
_ACCOUNT = re.compile(rf"({_NAME.pattern})~[0-9a-f]{{16}}")
_WINDOWS_DEVICES = {"con", "prn", "aux", "nul"} | {
    f"{device}{n}" for device in ("com", "lpt") for n in range(10)
}
# A launcher of such a name could never be started: the shell answers itself.
_SHELL_WORDS = set(
    "alias bg bind break builtin caller case cd command compgen complete compopt continue coproc "
    "declare dirs disown do done echo elif else enable esac eval exec exit export false fc fg fi "
    "for function getopts hash help history if in jobs kill let local logout mapfile popd printf "
    "pushd pwd read readarray readonly return select set shift shopt source suspend test then time "
    "times trap true type typeset ulimit umask unalias unset until wait while".split()
)
# argv[0] of these names turns the native program into another tool (measured, 2.1.330).
_CLAUDE_WORDS = {"claude", "ccm", "rg", "ugrep", "bfs", "node"}


def is_name(text: str) -> bool:
    """Whether `text` has the form of a name: one part of a path, and the same on every system."""
    return bool(_NAME.fullmatch(text)) and not text.endswith(".")


def account_owner(text: str) -> str | None:
    """The variant whose entry of the system's keyring `text` can be; None for anything else."""
    match = _ACCOUNT.fullmatch(text)
    return match and match[1]


def is_account(text: str, name: str) -> bool:
    """Whether `text` can be an entry of the keyring that belongs to the variant `name`."""
    return account_owner(text) == name


def check_name(text: str) -> str:
    """`text` when it can be a variant's name everywhere; UsageError says why it can't."""
    hint = "Use 1 to 40 of a-z 0-9 . _ - and begin with a letter or digit: ccm create zai …"
    if not is_name(text):
        raise UsageError(f"'{text}' can't be the name of a variant.", hint)
    if text.partition(".")[0] in _WINDOWS_DEVICES:
        raise UsageError(f"'{text}' is the name of a device on Windows.", hint)
    if text in _CLAUDE_WORDS:
        other = f"Choose another name, such as {text}-own."
        raise UsageError(f"'{text}' would hide a program that is needed itself.", other)
    if text in _SHELL_WORDS:
        other = f"Choose another name, such as my-{text}."
        raise UsageError(f"'{text}' is a word of the shell and could never be started.", other)
    return text
