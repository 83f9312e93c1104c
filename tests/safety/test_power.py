"""The power is cut at every step: each variant is old or new, and what ended well is there to stay.

Every operation is recorded once (`recording.py`). Each state its disk may then be in after a cut
(`power.py`) is laid out and looked at, as if the machine had just been started again.
"""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from ccmirror_py import fs
from ccmirror_py.context import Context
from ccmirror_py.errors import CcmError
from ccmirror_py.host import this_platform
from ccmirror_py.journal import Journal
from ccmirror_py.operations import publish
from ccmirror_py.operations.prune import native_problems
from ccmirror_py.store import Store
from tests.npm_registry import NpmRegistry
from tests.safety.disk import Disk
from tests.safety.power import Files, Model, State, final, states
from tests.safety.recording import LOCKS, File, Recording, Synced, file_at, record
from tests.safety.scenarios import SCENARIOS, Act, Scenario
from tests.safety.steps import litter
from tests.safety.table import FULL, Tally, sample

MODELS: tuple[Model, ...] = ("weak", "ordered")
FULL_LOOKS = 200
"""About so many states of each killed and repeated operation are looked at in the full size."""


class Outage:
    """Cuts the power during one scenario, and writes down what should not have come of it."""

    def __init__(self, disk: Disk, scenario: Scenario) -> None:
        self.violations: list[str] = []
        self._disk = disk
        self._scenario = scenario
        disk.prepare(scenario.before)
        self._old = self._seen()
        self._had = [fault for name in scenario.changes for fault in self._faults(name)]
        self._configs = self._first_settings()
        self._others = disk.files(*scenario.changes)
        self._sessions = disk.sessions()
        self.whole = self._record()
        assert self.whole.ended == "ended", self.whole.ended
        self.check_recording(self.whole)
        self._new = self._seen()
        self._configs |= self._first_settings()
        self._kept = disk.sessions()

    # --- what there is to look at ---

    def during(self, models: Sequence[Model] = MODELS) -> dict[Files, State]:
        """What a cut during the operation or after it may leave, by any of the models."""
        found = _joined(states(self.whole, model) for model in models)
        self._check_durable(self.whole, found)
        return found

    def during_recovery(self, killed_after: int) -> dict[Files, State]:
        """The operation is killed, repeated, and the power is cut before the repetition ends."""
        self._disk.restore()
        first = self._record(killed_after)
        assert first.ended == "killed"
        both = self._record(before=first)
        self.check_recording(both)
        found = _joined(states(both, model, len(first.steps)) for model in MODELS)
        self._check_durable(both, found, "/.cache|/.store")
        return found

    def check_recording(self, recording: Recording) -> None:
        """Replaying all of it gives what is really there."""
        state, top = final(recording), self._disk.user
        replayed = {path: state.files[node] for path, node in state.tree.items()}
        assert _without_locks(replayed) == _without_locks(everything(top))

    def _check_durable(
        self, recording: Recording, found: Mapping[Files, State], cached: str = "/.cache"
    ) -> None:
        """After the end nothing is under way but what is only a cache."""
        complete = final(recording).key()
        for key, state in found.items():
            changed = {path for path, _ in key ^ complete}
            paths = sorted(path for path in changed if not re.search(cached, path))
            self._check("ended, but may be lost or back", paths if state.ended else [])

    def look(self, found: Sequence[State]) -> None:
        for state in found:
            before = len(self.violations)
            self._look(state)
            for index in range(before, len(self.violations)):
                self.violations[index] = f"{state.after}: {self.violations[index]}"

    def _record(self, killed_after: int = 0, before: Recording | None = None) -> Recording:
        act, context = self._scenario.act, self._disk.context(fresh=True)
        joined = (before, final(before).tree) if before else None
        return record(lambda: act(context), self._disk.user, killed_after, joined)

    # --- looking at it ---

    def _look(self, state: State) -> None:
        state.lay_out(self._disk.user)
        publish._STARTED.clear()  # a machine that was started again knows nothing
        self._look_at_variants(pending=True)
        if state.ended:
            self._check_new("ended well, but", self._scenario.either)
            self._check_forgotten("ended well, but")
        store = Store(self._disk.home, this_platform())
        entries = ((e.parent.name, e.name) for e in self._disk.home.store.glob("*/*"))
        self._check("the store", [p for key in entries for p in store.problems(key)])
        self._check_rest()

        self._tried("the next command", Context.begin_change, ())
        self._look_at_variants(pending=False)
        self._check("the next command: litter", litter(self._disk.home))

        self._tried("the same command again", self._scenario.act, self._scenario.again)
        self._check_new("the same command again:", self._scenario.either)
        self._check_forgotten("the same command again:")
        self._check("the same command again: litter", litter(self._disk.home))
        self._check_rest()

    def _look_at_variants(self, pending: bool) -> None:
        """Old or new, each with a whole program; `pending`: its command may be missing yet."""
        home = self._disk.home
        for name, now in self._seen().items():
            allowed = (self._old[name], self._new[name])
            if pending and not now and home.current(name).is_symlink():
                self._check(f"{name} has no command", [] if "" in allowed else [now])
                now = self._runs(name, home.current(name) / "launch")  # noqa: PLW2901
            self._check(f"{name} is neither old nor new", [] if now in allowed else [now])
            faults = [fault for fault in self._faults(name) if fault not in self._had]
            self._check(f"{name}'s program", faults)
        torn = self._first_settings() - self._configs
        self._check(".claude.json is neither old nor new", sorted(torn))

    def _check_new(self, when: str, either: bool = False) -> None:
        for name, now in self._seen().items():
            allowed = (self._new[name], self._old[name] if either else self._new[name])
            self._check(f"{when} {name} is not '{allowed[0]}'", [] if now in allowed else [now])

    def _check_forgotten(self, when: str) -> None:
        for name in self._new if self._scenario.forgets else ():
            held = self._disk.holds(name, self._scenario.forgets)
            self._check(f"{when} the key that went is left", held)

    def _check_rest(self) -> None:
        now = self._disk.files(*self._scenario.changes)
        changed = {path for path, _ in now.items() ^ self._others.items()}
        self._check("changed, but not its own", sorted(changed))
        self._check("lost sessions", sorted((self._sessions & self._kept) - self._disk.sessions()))

    def _seen(self) -> dict[str, str]:
        return {name: self._runs(name) for name in self._scenario.changes}

    def _runs(self, name: str, launcher: Path | None = None) -> str:
        try:
            return self._disk.seen(name, launcher)
        except (ValueError, OSError, CcmError) as error:  # half a program, half a record
            return f"broken: {error}"

    def _faults(self, name: str) -> list[str]:
        current = self._disk.home.current(name)
        return native_problems(current / "native") if current.is_symlink() else []

    def _first_settings(self) -> set[str]:
        paths = (self._disk.home.config(name) / ".claude.json" for name in self._scenario.changes)
        return {path.read_text(errors="replace") for path in paths if path.exists()}

    def _tried(self, what: str, act: Act, refused: tuple[type[CcmError], ...]) -> None:
        try:
            act(self._disk.context())
        except (CcmError, OSError) as error:
            if not isinstance(error, refused):
                self._note(f"{what}: {type(error).__name__}: {error}")

    def _check(self, what: str, wrong: Sequence[object]) -> None:
        if wrong:
            self._note(f"{what}: {wrong}")

    def _note(self, violation: str) -> None:
        self.violations.append(violation.replace(str(self._disk.user), "~"))


def _joined(found: Iterator[dict[Files, State]]) -> dict[Files, State]:
    """One that may be there after the end counts as that."""
    joined: dict[Files, State] = {}
    for some in found:
        joined |= {key: state for key, state in some.items() if key not in joined or state.ended}
    return joined


def everything(top: Path) -> dict[str, File]:
    below = {str(path.relative_to(top)): file_at(path) for path in top.rglob("*")}
    return {"": file_at(top), **below}


def _without_locks(files: Mapping[str, File]) -> dict[str, File]:
    return {path: file for path, file in files.items() if f"/{LOCKS}/" not in path}


@pytest.fixture
def disk(tmp_path: Path, npm: NpmRegistry) -> Iterator[Disk]:
    """In memory where possible: what is synced is what was recorded, not what this disk does."""
    memory = Path("/dev/shm")
    usable = os.access(memory, os.W_OK) and not os.statvfs(memory).f_flag & os.ST_NOEXEC
    with tempfile.TemporaryDirectory(dir=memory if usable else tmp_path) as directory:
        yield Disk(Path(directory), npm)


@pytest.mark.parametrize("name", SCENARIOS)
def test_after_a_power_cut_each_variant_is_old_or_new(disk: Disk, tally: Tally, name: str) -> None:
    outage = Outage(disk, SCENARIOS[name])
    found = sample(list(outage.during().values()), 15)
    outage.look(found)
    tally(len(found), outage.violations)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_power_cut_while_a_kill_is_made_good_changes_nothing(
    disk: Disk, tally: Tally, name: str
) -> None:
    """The killed command did not come to its last sync: what it saw done is not on the disk yet.

    Whether what ended well is durable is asked of each state; they are too many to look at all.
    """
    outage = Outage(disk, SCENARIOS[name])
    before = outage.during()
    unsynced = [i for i, s in enumerate(outage.whole.steps) if isinstance(s, Synced)][1:]
    found: dict[Files, State] = {}
    for killed_after in sample(unsynced, 3):
        found |= outage.during_recovery(killed_after)
    fresh = [state for key, state in found.items() if key not in before]
    some = fresh[:: max(1, len(fresh) // (FULL_LOOKS if FULL else 8))]
    outage.look(some)
    tally(len(some), outage.violations)


# --- does it see anything? ---------------------------------------------------------------------


def no_sync(*_: object) -> None:
    pass


def only_directories(descriptor: int, sync: Callable[[int], None] = fs._sync) -> None:
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        sync(descriptor)


def made_without_its_parent(path: Path, mode: int = 0o700) -> None:
    path.mkdir(mode=mode)


def there_is_enough(path: Path, mode: int = 0o700) -> None:
    path.mkdir(mode=mode, parents=True, exist_ok=True)


def in_place(path: Path, content: bytes, mode: int) -> None:
    path.write_bytes(content)
    path.chmod(mode)
    for place in (path, path.parent):
        descriptor = os.open(place, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def unlink_then_link(target: str, link: Path) -> None:
    link.unlink(missing_ok=True)
    fs.make_link(target, link)


def renamed_without_sync(source: Path, target: Path) -> None:
    source.rename(target)


def gone_without_sync(path: Path) -> None:
    path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Seed:
    """A mistake, put in place of what is right, the scenario that shows it, and as what.

    `models`: each of them finds it alone.
    """

    name: str
    wrong: Callable[..., None]
    scenario: str
    violation: str
    models: tuple[Model, ...] = MODELS
    place: object = fs


SEEDS = {
    "files are not synced": Seed("_sync", only_directories, "update", "is neither old nor new"),
    "nothing is synced": Seed("_sync", no_sync, "update", "ended"),
    "directories are not synced": Seed(
        "sync_directory", no_sync, "create", "may be lost or back", ("weak",)
    ),
    "a new directory's parent is not synced": Seed(
        "make_directory", made_without_its_parent, "first create", "may be lost or back", ("weak",)
    ),
    "missing parents are made by mkdir -p": Seed(
        "ensure_directory", there_is_enough, "first create", "may be lost or back", ("weak",)
    ),
    "written in place": Seed(
        "replace_file", in_place, "create --force", ".claude.json is neither old nor new"
    ),
    "a link replaced in two steps": Seed(
        "replace_link", unlink_then_link, "update", "is neither old nor new"
    ),
    "a rename is not synced": Seed("rename", renamed_without_sync, "update", "ended"),
    "a removal is not synced": Seed(
        "remove_file", gone_without_sync, "remove", "is neither old nor new", ("weak",)
    ),
}


@pytest.mark.parametrize("name", SEEDS)
def test_the_power_cut_finds_a_mistake(
    disk: Disk, tally: Tally, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    seed = SEEDS[name]
    monkeypatch.setattr(seed.place, seed.name, seed.wrong)
    outage = Outage(disk, SCENARIOS[seed.scenario])
    for model in seed.models:
        outage.violations.clear()
        found = reversed(outage.during([model]).values())  # most shows late
        for state in found if not _shows(outage, seed) else ():
            outage.look([state])
            if _shows(outage, seed):
                break
        assert _shows(outage, seed), (model, outage.violations)
    tally(1, [], suite="seeds")


def _shows(outage: Outage, seed: Seed) -> bool:
    return any(seed.violation in violation for violation in outage.violations)


def what_is_there_is_durable(path: Path, mode: int = 0o700) -> None:
    if not path.is_dir():
        what_is_there_is_durable(path.parent, mode)
        fs.make_directory(path, mode)


def what_is_gone_is_durable(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()
        fs.sync_directory(path.parent)


# a command is killed after the step of this name, and the next one builds on what it sees
RECOVERY_SEEDS = {
    "a kill's last change is not settled": (
        Seed("_make_last", no_sync, "key set", "its stored key is missing", place=Journal),
        "/.current.new .ccm/",
    ),
    "a directory that is there is durable": (
        Seed("ensure_directory", what_is_there_is_durable, "first create", "may be lost or back"),
        "mkdir .local",
    ),
    "a file that is gone is gone for good": (
        Seed("remove_file", what_is_gone_is_durable, "key remove", "may be lost or back"),
        "unlink .ccm/gamma/generations/1/credential",
    ),
}


@pytest.mark.parametrize("name", RECOVERY_SEEDS)
def test_the_power_cut_after_a_kill_finds_a_mistake(
    disk: Disk, tally: Tally, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    seed, step = RECOVERY_SEEDS[name]
    monkeypatch.setattr(seed.place, seed.name, seed.wrong)
    outage = Outage(disk, SCENARIOS[seed.scenario])
    steps = [each.said for each in outage.whole.steps]
    killed_after = next(number for number, said in enumerate(steps, 1) if step in said)
    for state in outage.during_recovery(killed_after).values():
        if _shows(outage, seed):
            break
        outage.look([state])
    assert _shows(outage, seed), outage.violations
    tally(1, [], suite="seeds")


# --- are the models and the recording right? -----------------------------------------------------


def left_by(action: Callable[[], object], top: Path, model: Model) -> set[str]:
    """What may be there after a cut, each a line of names and contents."""
    return {
        " ".join(
            f"{path}={file.content.decode() or file.kind}" for path, file in sorted(key) if path
        )
        for key in states(record(action, top), model)
    }


def test_a_file_without_sync_may_be_anything(tmp_path: Path) -> None:
    left = left_by(lambda: (tmp_path / "f").write_text("abcd"), tmp_path, "weak")
    assert left == {"", "f=file", "f=ab", "f=abcd", "f=\0\0\0\0"}
    (tmp_path / "f").unlink()
    left = left_by(lambda: (tmp_path / "f").write_text("abcd"), tmp_path, "ordered")
    assert left == {"", "f=file", "f=ab", "f=abcd"}


def test_names_of_two_directories_are_independent_only_in_the_weak_model(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()

    def links() -> None:
        (tmp_path / "a" / "x").symlink_to("1")
        (tmp_path / "b" / "y").symlink_to("2")

    both = {"", "a/x=1", "a/x=1 b/y=2"}
    ordered = {_only(left, "/") for left in left_by(links, tmp_path, "ordered")}
    assert ordered == both
    for path in (tmp_path / "a" / "x", tmp_path / "b" / "y"):
        path.unlink()
    assert {_only(left, "/") for left in left_by(links, tmp_path, "weak")} == both | {"b/y=2"}


def _only(left: str, part: str) -> str:
    return " ".join(word for word in left.split() if part in word)


@pytest.mark.parametrize("model", MODELS)
def test_a_file_that_is_replaced_is_old_or_new(tmp_path: Path, model: Model) -> None:
    path = tmp_path / "f"
    path.write_text("old!")
    left = left_by(lambda: fs.replace_file(path, b"new!", 0o600), tmp_path, model)
    assert {_only(line, "f=").split()[-1] for line in left} == {"f=old!", "f=new!"}


def test_ext4_writes_what_replaces_a_file_before_the_rename(tmp_path: Path) -> None:
    path, waiting = tmp_path / "f", tmp_path / "g"
    path.write_text("old!")

    def hasty() -> None:
        waiting.write_text("new!")
        waiting.rename(path)

    left = left_by(hasty, tmp_path, "ordered")
    assert left == {"f=old!", "f=old! g=file", "f=old! g=ne", "f=old! g=new!", "f=new!"}
    path.write_text("old!")
    assert {"f=file", "f=ne"} <= left_by(hasty, tmp_path, "weak")


def test_a_directory_that_is_lost_takes_all_with_it(tmp_path: Path) -> None:
    def made() -> None:
        (tmp_path / "d").mkdir()
        fs.write_file(tmp_path / "d" / "f", b"safe?", 0o600)

    assert "" in left_by(made, tmp_path, "weak")
    shutil.rmtree(tmp_path / "d")

    def kept() -> None:
        fs.make_directory(tmp_path / "d")
        fs.write_file(tmp_path / "d" / "f", b"safe?", 0o600)

    found = states(record(kept, tmp_path), "weak").values()
    assert [sorted(s.tree) for s in found if s.ended] == [["", "d", "d/f"]]


def test_a_mode_that_was_mended_stays(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("secret")
    path.chmod(0o644)
    found = states(record(lambda: fs.make_private(path, 0o600), tmp_path), "weak").values()
    assert {state.files[state.tree["f"]].mode for state in found} == {0o644, 0o600}
    assert [state.files[state.tree["f"]].mode for state in found if state.ended] == [0o600]


_TRACED = (
    *("open", "openat", "creat", "write", "pwrite64", "writev", "fsync", "fdatasync", "ioctl"),
    *("rename", "renameat", "renameat2", "mkdir", "mkdirat", "link", "linkat", "symlink"),
    *("symlinkat", "unlink", "unlinkat", "rmdir", "chmod", "fchmod", "fchmodat", "truncate"),
    *("ftruncate", "fallocate", "copy_file_range", "sendfile"),
)
_RECORDED = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
from tests.safety.disk import Disk
from tests.safety.recording import Recorder, Snapshot
from tests.safety.scenarios import SCENARIOS
directory, url, name, output = sys.argv[1:]
sys.dont_write_bytecode = True
disk, said = Disk(Path(directory), SimpleNamespace(url=url)), []
context = disk.context()
Recorder(Snapshot(disk.user), lambda step: said.append(step.said)).install()
SCENARIOS[name].act(context)
Path(output).write_text(json.dumps(said))
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("name", ["first create", "update", "key set", "remove", "prune"])
def test_the_recording_is_what_strace_sees(disk: Disk, npm: NpmRegistry, name: str) -> None:
    disk.prepare(SCENARIOS[name].before)
    top = disk.user.parent
    trace, output = top / "trace", top / "said"
    done = subprocess.run(
        [
            *("strace", "-f", "-qq", "-y", "-s", "9", "-o", trace),
            *("-e", "trace=" + ",".join(f"?{call}" for call in _TRACED)),
            *(sys.executable, "-c", _RECORDED, top, npm.url, name, output),
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    if "ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    assert json.loads(output.read_text()) == list(_traced(trace.read_text(), str(disk.user)))


_CALL = re.compile(r"^\d+ +(\w+)\((.*)\) += (-?\d+)")


def _traced(text: str, top: str) -> Iterator[str]:
    """What strace saw below `top`, in the words of the recording."""
    for line in text.splitlines():
        match = _CALL.match(line)
        if not match or f"{top}/" not in line.replace(f"{top}>", f"{top}/>"):
            continue
        call, arguments, result = match.groups()
        paths = [os.path.relpath(path, top) for path in _paths(call, arguments)]
        if result.startswith("-") or any(f"/{LOCKS}/" in f"/{path}" for path in paths):
            continue
        if call in ("open", "openat", "creat"):
            if "O_CREAT" in arguments:
                assert "O_EXCL" in arguments, line
                yield f"create {paths[-1]}"
        elif call == "ioctl":
            if "FICLONE" in arguments:
                yield f"clone {paths[0]}"
        else:
            verb = "rmdir" if "AT_REMOVEDIR" in arguments else _VERBS[call]
            said = paths if call.startswith("rename") else paths[-1:]
            yield " ".join((verb, *said))


_VERBS = {
    **{call: call for call in ("write", "fsync", "mkdir", "rmdir", "unlink", "symlink", "link")},
    "unlinkat": "unlink",
    "rename": "rename",
    "chmod": "chmod",
    "fchmod": "chmod",
    "fallocate": "truncate",  # to a size, with zeros
}
_ABOUT_A_DESCRIPTOR = ("write", "fsync", "fchmod", "ioctl", "fallocate")


def _paths(call: str, arguments: str) -> Iterator[str]:
    """The files a call is about; `3</dir>, "name"` is one of them."""
    if call in _ABOUT_A_DESCRIPTOR:
        yield re.findall(r"<([^>]*)>", arguments)[0].removesuffix("(deleted)").strip()
        return
    folder = ""
    for opened, quoted in re.findall(r'<([^>]*)>|"([^"]*)"', arguments):
        if quoted:
            yield str(Path(folder, quoted))
        folder = opened
