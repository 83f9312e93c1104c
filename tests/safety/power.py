"""What a disk may look like after a power cut, from a recording of what was done to it.

Two models, both with atomic renames, as every journalling file system has them:

- weak: what POSIX promises and no more. A name is durable once its directory was synced, bytes and
  mode once their file was; of all the rest any part may be there. Names in one directory are
  independent of each other, a later change of the same name needs the earlier one. Bytes that were
  not synced are absent, cut short in the middle, zeros, or there.
- ordered: ext4 as it is mounted by default. Names, modes and truncations get durable in the order
  they were made in; syncing a file or directory makes all durable up to its own last change. New
  bytes that were not synced are absent, cut short, or there; replacing a file by a rename writes
  the new one's bytes first (auto_da_alloc).

Bounds of the weak model: of more than SUBSETS names under way not every part is taken, but all of
them, each one alone, all but each one, and each set of directories; then files are torn only where
all names are there. Of several files with bytes under way one is torn at a time, or none has any.
"""

import itertools
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from tests.safety.recording import (
    TOP,
    Allowed,
    Cut,
    File,
    Made,
    Names,
    Recording,
    Synced,
    Where,
    Written,
)

SUBSETS = 6
_RANDOM = re.compile("~[0-9a-f]{16}")
_TIME = re.compile(rb"\d{4}-\d\d-\d\dT[0-9:.]+")

Model = Literal["weak", "ordered"]
Change = Written | Cut | Allowed
Tree = Mapping[str, int]
"""Path to node; a node with two paths has hard links."""
Files = frozenset[tuple[str, File]]


@dataclass(frozen=True)
class State:
    """One thing a power cut may leave: after which step, and whether the action had ended."""

    tree: Tree
    files: Mapping[int, File]
    after: str
    ended: bool

    def key(self) -> Files:
        """The same for two states that differ in nothing but random names and the time."""
        return frozenset(
            (_RANDOM.sub("~", path), _timeless(self.files[node]))
            for path, node in self.tree.items()
        )

    def lay_out(self, top: Path) -> None:
        """Make the directory `top` this."""
        subprocess.run(["rm", "-rf", top], check=True)
        laid: dict[int, Path] = {}
        for path, node in self.tree.items():  # a directory comes before what is in it
            place, file = top / path, self.files[node]
            if node in laid:
                place.hardlink_to(laid[node])
                continue
            laid[node] = place
            if file.kind == "link":
                place.symlink_to(os.fsdecode(file.content))
            elif file.kind == "directory":
                place.mkdir()
            else:
                place.write_bytes(file.content)
        for node, place in laid.items():
            if self.files[node].kind != "link":
                place.chmod(self.files[node].mode)


def states(recording: Recording, model: Model, first: int = 0) -> dict[Files, State]:
    """Every distinct one from step `first` on. One that may be there after the end counts as that.

    What is possible before step `first` is found with the recording that ends there.
    """
    replay = _Replay(recording)
    possible = replay.weak if model == "weak" else replay.ordered
    found: dict[Files, State] = {}
    last = len(recording.steps)
    for done, ended in (*((number, False) for number in range(first, last + 1)), (last, True)):
        after = recording.steps[done - 1].said if done else "nothing"
        for tree, files in possible(done, ended):
            state = State(tree, files, f"{done} ({after})", ended)
            key = state.key()
            if ended or key not in found:
                found[key] = state
    return found


def final(recording: Recording) -> State:
    """What is in memory after the last step; on disk, too, when nothing is cut."""
    replay = _Replay(recording)
    every = range(len(recording.steps))
    tree = replay.tree([i for i in every if isinstance(recording.steps[i], Names)])
    files = {node: replay.file(node, replay.changes(node, every)) for node in tree.values()}
    return State(tree, files, "all", True)


class _Replay:
    """Steps are known by their position. `done` of them happened before the cut.

    Without `every`, states that were possible before the last of them happened may be left out.
    """

    def __init__(self, recording: Recording) -> None:
        self._steps = recording.steps
        self._names = recording.names
        self._files = dict(recording.files)
        self._versions: dict[tuple[object, ...], list[File]] = {}
        self._replaced: dict[int, int] = {}  # step to the node that took another one's place
        self._needed: dict[int, set[int]] = {}
        self._lasting = self._made_durable()
        names = dict(recording.names)
        for number, step in enumerate(self._steps):
            if isinstance(step, Made):
                self._files[_node(step)] = step.file
            if isinstance(step, Names):
                where, node = step.changes[-1]
                if len(step.changes) == 2 and node is not None and where in names:
                    self._replaced[number] = node
                _apply(names, step)

    # --- the models ---

    def weak(self, done: int, every: bool) -> Iterator[tuple[Tree, Mapping[int, File]]]:
        if done and not every and isinstance(self._steps[done - 1], Synced):
            return  # less is possible than before
        durable = self._durable(done)
        names = [i for i in range(done) if isinstance(self._steps[i], Names)]
        pending = [i for i in names if i not in durable]
        newest = -1 if every or done - 1 not in pending else done - 1
        changed = self._changed(done)
        for chosen in self._parts(pending, newest):
            tree = self.tree([i for i in names if i in durable or i in chosen])
            torn = len(pending) <= SUBSETS or len(chosen) == len(pending)
            versions = {
                node: self._weak_versions(node, changes, durable)[: None if torn else 1]
                for node, changes in changed.items()
                if node in tree.values()
            }
            yield from self._combined(tree, versions)

    def ordered(self, done: int, every: bool) -> Iterator[tuple[Tree, Mapping[int, File]]]:
        if done and not every and isinstance(self._steps[done - 1], Synced):
            return
        durable = self._durable(done)
        for reached in range(self._committed(done), done + 1) if every else [done]:
            tree = self.tree([i for i in range(reached) if isinstance(self._steps[i], Names)])
            versions = {
                node: self._ordered_versions(node, changes, durable, reached)
                for node, changes in self._changed(reached).items()
                if node in tree.values()
            }
            yield from self._combined(tree, versions)

    def _combined(
        self, tree: Tree, versions: Mapping[int, Sequence[File]]
    ) -> Iterator[tuple[Tree, Mapping[int, File]]]:
        """Each file in each version while the others are complete, and all in their poorest."""
        complete = {node: self._files[node] for node in tree.values()}
        complete |= {node: found[0] for node, found in versions.items()}
        yield tree, complete
        for node, found in versions.items():
            for version in found[1:]:
                yield tree, {**complete, node: version}
        if sum(len(found) > 1 for found in versions.values()) > 1:
            yield tree, complete | {node: found[-1] for node, found in versions.items()}

    # --- names ---

    def tree(self, chosen: Iterable[int]) -> Tree:
        names = dict(self._names)
        for number in chosen:
            step = self._steps[number]
            assert isinstance(step, Names)
            _apply(names, step)
        inside: dict[int, list[tuple[str, int]]] = {}
        for (directory, name), node in names.items():
            inside.setdefault(directory, []).append((name, node))
        found = {"": TOP}

        def add(directory: int, path: str) -> None:
            for name, node in inside.get(directory, ()):
                found[path + name] = node
                add(node, f"{path}{name}/")

        add(TOP, "")
        return found

    def _parts(self, pending: Sequence[int], newest: int) -> Iterator[frozenset[int]]:
        """What may be there of these names; with `newest` in it, if it is one of them."""
        if len(pending) <= SUBSETS:
            parts: list[Iterable[int]] = [
                part
                for count in range(len(pending) + 1)
                for part in itertools.combinations(pending, count)
            ]
        else:
            directories = {i: self._directories(i) for i in pending}
            each = sorted(set().union(*directories.values()))
            sets = [set(each)]
            if len(each) <= SUBSETS:
                sets = [
                    set(s) for n in range(len(each) + 1) for s in itertools.combinations(each, n)
                ]
            parts = [[i for i in pending if directories[i] <= some] for some in sets]
            parts += [[i] for i in pending]
            parts += [[j for j in pending if j != i and i not in self._needs(j)] for i in pending]
        seen = set()
        for part in parts:
            whole = frozenset(part).union(*(self._needs(i) for i in part)) & set(pending)
            if whole not in seen and (newest < 0 or newest in whole):
                seen.add(whole)
                yield whole

    def _directories(self, number: int) -> set[int]:
        step = self._steps[number]
        assert isinstance(step, Names)
        return {directory for (directory, _), _ in step.changes}

    def _needs(self, number: int) -> set[int]:
        """The earlier changes of the same names, and what those need."""
        if number in self._needed:
            return self._needed[number]
        needed = self._needed[number] = set()
        wanted = {where for where, _ in self._changes_of(number)}
        for earlier in range(number - 1, -1, -1):
            changed = {where for where, _ in self._changes_of(earlier)}
            if changed & wanted:
                needed.add(earlier)
                wanted |= changed
        return needed

    def _changes_of(self, number: int) -> Sequence[tuple[Where, int | None]]:
        step = self._steps[number]
        return step.changes if isinstance(step, Names) else ()

    # --- what a sync promises ---

    def _durable(self, done: int) -> set[int]:
        """Weak: names in a directory that was synced since, changes of a file that was."""
        return {number for number, since in self._lasting.items() if since < done}

    def _made_durable(self) -> dict[int, int]:
        """Step to the sync that made it durable."""
        lasting: dict[int, int] = {}
        pending: list[int] = []
        for number, step in enumerate(self._steps):
            if not isinstance(step, Synced):
                pending.append(number)
                continue
            for earlier in pending:
                before = self._steps[earlier]
                if isinstance(before, Names):
                    if step.node in self._directories(earlier):
                        needed = {earlier, *self._needs(earlier)} - lasting.keys()
                        lasting |= dict.fromkeys(needed, number)
                elif not isinstance(before, Synced) and before.node == step.node:
                    lasting[earlier] = number
            pending = [earlier for earlier in pending if earlier not in lasting]
        return lasting

    def _committed(self, done: int) -> int:
        """Ordered: so many steps are in the journal for certain."""
        committed, unwritten = 0, set[int]()
        for number, step in enumerate(self._steps[:done]):
            if isinstance(step, Written):
                unwritten.add(step.node)
            elif isinstance(step, Synced) and step.node in unwritten:
                # its blocks are allocated now, in the newest transaction
                unwritten.remove(step.node)
                committed = number
            elif isinstance(step, Synced):
                touched = (i for i in range(number, -1, -1) if self._touches(i, step.node))
                committed = max(committed, next(touched, -1) + 1)
        return committed

    def _touches(self, number: int, node: int) -> bool:
        step = self._steps[number]
        if isinstance(step, Names):
            return any(node in (directory, named) for (directory, _), named in step.changes)
        return not isinstance(step, Synced) and step.node == node

    # --- what is in a file ---

    def _changed(self, done: int) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for number, step in enumerate(self._steps[:done]):
            if isinstance(step, Written | Cut | Allowed):
                found.setdefault(step.node, []).append(number)
        return found

    def changes(self, node: int, numbers: Iterable[int]) -> list[Change]:
        return [
            step
            for step in map(self._steps.__getitem__, numbers)
            if isinstance(step, Written | Cut | Allowed) and step.node == node
        ]

    def _weak_versions(self, node: int, numbers: Sequence[int], durable: set[int]) -> list[File]:
        """The complete one first, the poorest last."""
        sure = self.changes(node, [i for i in numbers if i in durable])
        pending = self.changes(node, [i for i in numbers if i not in durable])
        key = (node, len(sure), len(pending))
        if key not in self._versions:
            bytes_ = [change for change in pending if not isinstance(change, Allowed)]
            parts: list[Sequence[Change]] = [pending, bytes_]
            parts += [[*pending[:i], *_torn(pending[i])] for i in reversed(range(len(pending)))]
            parts += [[_zeros(change) for change in pending], []]
            found = dict.fromkeys(self.file(node, [*sure, *part]) for part in parts)
            poorest = self.file(node, sure)
            self._versions[key] = [*(file for file in found if file != poorest), poorest]
        return self._versions[key]

    def _ordered_versions(
        self, node: int, numbers: Sequence[int], durable: set[int], reached: int
    ) -> list[File]:
        moved = [i for i, replacing in self._replaced.items() if replacing == node and i < reached]
        forced = max(moved, default=-1)
        pending = [i for i in numbers if i not in durable and i > forced]
        written = [i for i in pending if isinstance(self._steps[i], Written)]
        complete = self.file(node, self.changes(node, numbers))
        poorest = self.file(node, self.changes(node, [i for i in numbers if i not in written]))
        found = [complete]
        for i in reversed(written):
            left = self.changes(node, [j for j in numbers if j < i or j not in written])
            step = self._steps[i]
            assert isinstance(step, Written)
            found.append(self.file(node, [*left, *_torn(step)]))
        return [*(file for file in dict.fromkeys(found) if file != poorest), poorest]

    def file(self, node: int, changes: Iterable[Change]) -> File:
        kind, mode, content = self._files[node]
        for change in changes:
            match change:
                case Allowed():
                    mode = change.mode
                case Cut():
                    content = content[: change.size].ljust(change.size, b"\0")
                case Written():
                    before = content[: change.at].ljust(change.at, b"\0")
                    content = before + change.data + content[change.at + len(change.data) :]
        return File(kind, mode, content)


@lru_cache(maxsize=10_000)
def _timeless(file: File) -> File:
    return file._replace(content=_TIME.sub(b"", file.content))


def _apply(names: dict[Where, int], step: Names) -> None:
    for where, node in step.changes:
        if node is None:
            names.pop(where, None)
        else:
            names[where] = node


def _node(step: Made) -> int:
    node = step.changes[0][1]
    assert node is not None
    return node


def _torn(change: Change) -> list[Change]:
    """The first half of what was written, nothing of another change."""
    if not isinstance(change, Written):
        return []
    return [Written(change.node, change.at, change.data[: len(change.data) // 2], change.said)]


def _zeros(change: Change) -> Change:
    if not isinstance(change, Written):
        return change
    return Written(change.node, change.at, bytes(len(change.data)), change.said)
