"""Each step fails in each way it can: the command says so and leaves what there was, or gets there.

The whole command runs, from what is typed to its exit code. When a step fails,

- the exit code is an error's, and the last of what is said is one line with what failed and one
  with what to do, for each variant that failed; there is never a traceback;
- each variant is what it was before. It may be what it should become when the step came after the
  one that made it so: the command on PATH could not be linked, or older keys, generations and the
  journal could not be cleared away. It is never in between, and it can be started;
- nothing is left in staging, unless the clearing itself failed;
- the next command clears up the rest, and the same one given again gets where it should.

A command may end well in spite of a failure when what failed is of no account or is done in another
way (`may_end_well` lists these); then it has done all it should.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

import pytest

from ccmirror_py import fs
from ccmirror_py.errors import DiskError
from tests.safety.campaign import Campaign, Case, disk, each_scenario, mixed
from tests.safety.disk import Disk
from tests.safety.scenarios import SCENARIOS
from tests.safety.steps import Fault, faults_of
from tests.safety.table import Tally, sample

__all__ = ["disk"]

SHORT = 15
"""Cases of each scenario."""


@each_scenario
def test_a_step_that_fails_is_an_error_that_changes_nothing(
    disk: Disk, tally: Tally, name: str
) -> None:
    campaign = Campaign(disk, SCENARIOS[name])
    steps = enumerate(campaign.steps, 1)
    cases = [Case(number, fault) for number, step in steps for fault in faults_of(step)]
    chosen = sample(mixed(cases), SHORT)
    campaign.try_each(chosen)
    tally(len(chosen), campaign.violations)


# --- does the campaign see anything? -----------------------------------------------------------


def written_once(file: BinaryIO, content: bytes) -> None:
    file.write(content)


def synced_if_possible(descriptor: int) -> None:
    import os

    with suppress(OSError):
        os.fsync(descriptor)


def without_hint(error: DiskError, reason: OSError) -> None:
    super(DiskError, error).__init__(str(reason.strerror))


def gone_before_it_is_replaced(target: str, link: Any) -> None:
    link.unlink(missing_ok=True)
    fs.make_link(target, link)


@dataclass(frozen=True)
class Seed:
    """A mistake, put in place of what is right, and the violation it has to come out as."""

    place: object
    name: str
    wrong: Callable[..., None]
    scenario: str
    fault: Fault
    violation: str


SEEDS = {
    "a failure that clears nothing": Seed(
        fs, "remove_tree", lambda _: None, "update", "ENOSPC", "left in staging"
    ),
    "a short write taken for a whole one": Seed(
        fs, "write_all", written_once, "update", "short", "is neither old nor new"
    ),
    "a failing fsync passed over": Seed(
        fs, "_sync", synced_if_possible, "key set", "EIO", "ended well, but something failed"
    ),
    "an error without a hint": Seed(
        DiskError, "__init__", without_hint, "remove", "EIO", "no error for people"
    ),
    "a link that is away for a moment": Seed(
        fs, "replace_link", gone_before_it_is_replaced, "rollback", "EIO", "neither old nor new"
    ),
}


@pytest.mark.parametrize("name", SEEDS)
def test_the_campaign_finds_a_mistake(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, tally: Tally, name: str
) -> None:
    seed = SEEDS[name]
    monkeypatch.setattr(seed.place, seed.name, seed.wrong)
    campaign = Campaign(disk, SCENARIOS[seed.scenario])
    numbered = [(n, s) for n, s in enumerate(campaign.steps, 1) if seed.fault in faults_of(s)]
    # from the end on, where operations become visible; the first find is enough
    cases = [Case(number, seed.fault) for number, _ in reversed(numbered)]
    assert any(seed.violation in found for found in campaign.found(cases))
    tally(1, [], suite="seeds")
