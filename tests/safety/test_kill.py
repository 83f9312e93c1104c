"""Stopped at every step: each variant is old or new, and the next command makes good.

A complete run of the command in a forked child counts its steps. Then, for each step, the same disk
is laid out again and a child runs the command and does not survive that step (`steps.py`): it is
killed, terminated or interrupted there. What is then looked at is in `campaign.py`.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ccmirror_py import fs
from ccmirror_py.context import Context
from ccmirror_py.home import Home
from ccmirror_py.journal import Journal, Verb
from ccmirror_py.operations import create
from ccmirror_py.operations.publish import Next, publish
from tests.safety.campaign import Campaign, Case, disk, each_scenario, mixed
from tests.safety.disk import Disk
from tests.safety.scenarios import SCENARIOS
from tests.safety.table import Tally, sample

__all__ = ["disk"]

SHORT = 9
"""Cases of each scenario."""


@each_scenario
def test_after_a_stop_at_any_step_the_next_command_makes_good(
    disk: Disk, tally: Tally, name: str
) -> None:
    """Killed: the same command converges, and so it does after any other command, which clears up
    all that was left. Terminated and interrupted with Ctrl-C: that as well."""
    campaign = Campaign(disk, SCENARIOS[name])
    cases = [
        Case(step, fault, other_first)
        for step in range(1, len(campaign.steps) + 1)
        for fault, other_first in (
            ("kill", False),
            ("kill", True),
            ("terminate", True),
            ("interrupt", True),
        )
    ]
    chosen = sample(mixed(cases), SHORT)
    campaign.try_each(chosen)
    tally(len(chosen), campaign.violations)


# --- does the campaign see anything? -----------------------------------------------------------


def unlink_then_link(target: str, link: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def in_place(path: Path, content: bytes, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    with os.fdopen(os.open(path, flags, mode), "wb", buffering=0) as file:
        fs.write_all(file, content)


def no_announcement(journal: Journal, name: str, verb: Verb, trashed: str = "") -> None:
    pass


def announced_as_removal(
    journal: Journal,
    name: str,
    verb: Verb,
    trashed: str = "",
    announce: Callable[..., None] = Journal.announce,
) -> None:
    announce(journal, name, "remove", trashed)


def made_then_announced(context: Context, coming: Next) -> None:
    publish(context, coming)
    context.journal.announce(coming.variant.name, "create")
    context.variants.link(coming.variant.name)
    context.journal.finished(coming.variant.name)


def removed_then_announced(journal: Journal, name: str, keep_config: bool, trashed: str) -> None:
    journal._finish_removal(name, keep_config, trashed)
    journal.announce(name, "remove", trashed)
    journal.finished(name)


@dataclass(frozen=True)
class Seed:
    """A mistake, put in place of what is right, and the violation it has to come out as."""

    place: object
    name: str
    wrong: Callable[..., None]
    scenario: str
    violation: str


SEEDS = {
    "a link replaced in two steps": Seed(
        fs, "replace_link", unlink_then_link, "update", "is neither old nor new"
    ),
    "a record written in place": Seed(
        fs, "replace_file", in_place, "create in kept config", "torn"
    ),
    "create without a journal": Seed(
        Journal, "announce", no_announcement, "create", "litter: ['gamma'"
    ),
    "create announced after it is done": Seed(
        create, "_make", made_then_announced, "create", "the same command again: gamma is ''"
    ),
    "remove announced after it is done": Seed(
        Journal, "remove", removed_then_announced, "remove", "litter: ['alpha'"
    ),
    "a journal that says remove": Seed(
        Journal, "announce", announced_as_removal, "create in kept config", "lost sessions"
    ),
    "staging that is never swept": Seed(
        Home, "sweep_staging", lambda *_: None, "update", "litter: ['.staging/"
    ),
}


@pytest.mark.parametrize("name", SEEDS)
def test_the_campaign_finds_a_mistake(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, tally: Tally, name: str
) -> None:
    seed = SEEDS[name]
    monkeypatch.setattr(seed.place, seed.name, seed.wrong)
    campaign = Campaign(disk, SCENARIOS[seed.scenario])
    # from the end on, where operations become visible; the first find is enough
    cases = [Case(step, "kill") for step in range(len(campaign.steps), 0, -1)]
    assert any(seed.violation in found for found in campaign.found(cases))
    tally(1, [], suite="seeds")
