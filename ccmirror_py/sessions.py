"""Sessions that are running now, found by the generation their program was started from."""

import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ccmirror_py.home import Home


@dataclass(frozen=True)
class Session:
    """`release` is the directory in the store when its program lies there (`NAME +VERSION`)."""

    pid: int
    name: str
    generation: Path
    release: Path | None = None


def running_sessions(home: Home) -> list[Session]:
    """Every process whose program or arguments lie in a generation of a variant.

    JavaScript releases overwrite their arguments, and `NAME +VERSION` has a program elsewhere; both
    are known by what their launcher exported.
    """
    root = f"{home.root}/"
    sessions = []
    for pid, words in _processes(root):
        release = next((Path(w).parent for w in words if w.startswith(f"{home.store}/")), None)
        for word in words:
            parts = word.removeprefix(root).split("/")
            if word.startswith(root) and len(parts) > 2 and parts[1] == "generations":
                generation = home.generations(parts[0]) / parts[2]
                sessions.append(Session(pid, parts[0], generation, release))
                break
    return sessions


def _processes(root: str) -> list[tuple[int, list[str]]]:
    """Pid, and the program's path and arguments, of the processes that can be seen."""
    if sys.platform != "linux":
        import subprocess

        listing = subprocess.run(
            ["/bin/ps", "-axww", "-o", "pid=,args="],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        ).stdout
        pids = (line.strip().partition(" ") for line in listing.splitlines() if line.strip())
        return [(int(pid), _places(words, root)) for pid, _, words in pids]
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            with suppress(OSError):  # it ended, or belongs to somebody else
                program = str((directory / "exe").readlink())
                words = [program, *_words(directory / "cmdline")]
                if words[1] == "claude" or any(word.startswith(root) for word in words):
                    words += [
                        word.partition("=")[2]
                        for word in _words(directory / "environ")
                        if word.startswith(("CCM_GENERATION=", "CCM_PROGRAM="))
                    ]
                found.append((int(directory.name), words))
    return found


def _places(words: str, root: str) -> list[str]:
    """The paths below `root`, which may have spaces in it, in what `ps` prints as one line."""
    return [root + rest.partition(" ")[0] for rest in words.split(root)[1:]]


def _words(path: Path) -> list[str]:
    return path.read_bytes().decode(errors="replace").split("\0")
