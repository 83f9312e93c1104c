"""Killed, and killed again while the next command makes good what was left: nothing is lost.

A pair is a step of the operation that did not happen, and a step of the recovery after it that did
not happen either. Only steps that change what is on the disk count: where a kill leaves nothing to
be made good, there is no pair.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice

import pytest

from ccmirror_py.errors import CcmError
from ccmirror_py.journal import Journal
from ccmirror_py.operations.remove import remove
from tests.safety.campaign import Campaign, Case, Run, disk, each_scenario, mixed
from tests.safety.disk import Disk
from tests.safety.scenarios import NEW, SCENARIOS, SESSION, Scenario, updated
from tests.safety.steps import Ended, Fault, in_child
from tests.safety.table import FULL, Tally, sample

__all__ = ["disk"]

SHORT = 3
"""Kills whose recovery is killed, of each operation, and kills of each such recovery."""


def recovery(disk: Disk, _: Scenario) -> Run:
    """What every command that changes something does first."""

    def run(at: int, fault: Fault) -> Ended:
        return in_child(disk.context(fresh=True).begin_change, disk.user, at, fault)

    return run


def after_each_kill(disk: Disk, name: str) -> Iterator[Campaign]:
    """A campaign for each kill that leaves something to be made good."""
    first = Campaign(disk, SCENARIOS[name])
    for number in mixed(_changes(first)):
        disk.restore()
        first.run(number, "kill")
        later = disk.beside("killed")
        later.save()
        second = Campaign(later, SCENARIOS[name], recovery, after=first)
        if _changes(second):
            yield second


def _changes(campaign: Campaign) -> list[int]:
    unseen = ("fsync", "close")
    return [n for n, step in enumerate(campaign.steps, 1) if not step.startswith(unseen)]


@each_scenario
def test_a_kill_while_a_kill_is_made_good_changes_nothing(
    disk: Disk, tally: Tally, name: str
) -> None:
    pairs, violations, kills = 0, list[str](), None if FULL else SHORT
    for campaign in islice(after_each_kill(disk, name), kills):
        cases = [Case(step, "kill") for step in mixed(_changes(campaign))]
        chosen = sample(cases, SHORT)
        campaign.try_each(chosen)
        pairs += len(chosen)
        violations += campaign.violations
    assert pairs >= SHORT, "there was nothing to make good"
    tally(pairs, violations)


@pytest.mark.parametrize("instead", ["link", "file"])
def test_a_removal_that_cannot_be_finished_stops_no_other_variant(disk: Disk, instead: str) -> None:
    disk.prepare(lambda _: None)
    config, elsewhere = disk.home.config("alpha"), disk.user / "elsewhere"
    config.rename(elsewhere)
    config.symlink_to(elsewhere) if instead == "link" else config.write_text("not a directory")
    with suppress(CcmError, OSError):  # refusing is as good as removing it
        remove(disk.context(), "alpha", keep_config=False, force=False)
    updated("beta")(disk.context())
    assert disk.seen("beta").startswith(NEW)
    assert (elsewhere / SESSION.relative_to("config")).exists()


def test_what_a_kill_leaves_of_a_remembered_answer_is_cleared_away(disk: Disk) -> None:
    campaign = Campaign(disk, SCENARIOS["update"])
    step = next(n for n, s in enumerate(campaign.steps, 1) if "rename" in s and "/registry/" in s)
    disk.restore()
    campaign.run(step, "kill")
    updated("alpha")(disk.context())
    disk.context().begin_change()
    assert list((disk.home.cache / "registry").glob(".*.new")) == []


# --- does the campaign see anything? -----------------------------------------------------------


def done_before_it_is(
    journal: Journal,
    name: str,
    say: Callable[[str], None],
    finish: Callable[..., None] = Journal._finish,
) -> None:
    path = journal._home.journal / name
    if path.exists() and not journal._variants.exists(name):
        announced = json.loads(path.read_text())
        journal.finished(name)
        journal._finish_removal(name, False, announced["trashed"])
    finish(journal, name, say)


SEEDS = {
    "a removal said to be done before it is": (
        Journal,
        "_finish",
        done_before_it_is,
        "remove",
        "litter: ['alpha'",
    ),
}


@pytest.mark.parametrize("name", SEEDS)
def test_the_campaign_finds_a_mistake(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, tally: Tally, name: str
) -> None:
    place, attribute, wrong, scenario, violation = SEEDS[name]
    monkeypatch.setattr(place, attribute, wrong)
    found = (
        each
        for campaign in after_each_kill(disk, scenario)
        for each in campaign.found(Case(step, "kill") for step in _changes(campaign))
    )
    assert any(violation in each for each in found)
    tally(1, [], suite="seeds")
