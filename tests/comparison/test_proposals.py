"""Proposals of a sweep: no combination of values twice, in the same order after each stop, to the last combination."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from segdistill.comparison.proposals import (
    MOST_REPEATS,
    REPEATS,
    Proposal,
    is_exhausted,
    next_trial,
    open_study,
    trials_of,
)
from segdistill.comparison.search import Search, Value, search
from tests.tiny import TINY

optuna: Any = pytest.importorskip("optuna")
optuna.logging.set_verbosity(optuna.logging.WARNING)
FAIL = optuna.trial.TrialState.FAIL
COMPLETE = optuna.trial.TrialState.COMPLETE

TEMPERATURE, SAMPLES = "terms.kd.temperature", "terms.gskd.samples"


def searched(*dimensions: str) -> Search:
    return search("quickstart", TINY, dimensions)


def score(values: Mapping[str, Value]) -> float:
    return sum(float(value) for value in values.values())


def propose(
    space: Search,
    folder: Path,
    trials: int,
    *,
    told: Callable[[Mapping[str, Value]], float | None] = score,
    is_stopped: bool = False,
) -> list[Proposal]:
    """Return all proposals; a score of None fails. With ``is_stopped``, the journal is opened again for each step."""
    folder.mkdir(exist_ok=True)
    study, found = open_study(optuna, folder), []
    while proposal := next_trial(optuna, study, space, trials):
        if is_stopped:
            study = open_study(optuna, folder)
            assert next_trial(optuna, study, space, trials) == proposal
        found.append(proposal)
        value = told(proposal.values)
        study.tell(proposal.number, value) if value is not None else study.tell(proposal.number, state=FAIL)
        assert len(found) <= trials
    return found


def repeats(folder: Path) -> list[Any]:
    return [each for each in open_study(optuna, folder).trials if REPEATS in each.user_attrs]


def test_two_choices_are_two_trials(tmp_path: Path) -> None:
    space = searched(f"{TEMPERATURE}=1,4")
    assert space.combinations == 2
    found = propose(space, tmp_path, 10)
    assert sorted(str(each.values[TEMPERATURE]) for each in found) == ["1", "4"]
    assert is_exhausted(optuna, open_study(optuna, tmp_path), space)
    assert propose(space, tmp_path, 20) == []


def test_each_combination_of_choices_and_whole_numbers_is_one_trial(tmp_path: Path) -> None:
    space = searched(f"{TEMPERATURE}=1,4,9", f"{SAMPLES}=4..7")
    assert space.combinations == 12
    found = propose(space, tmp_path, 100)
    assert {tuple(each.values.values()) for each in found} == {(t, n) for t in ("1", "4", "9") for n in range(4, 8)}
    assert [each.trial for each in found] == list(range(12))
    assert [trial.number for trial in trials_of(optuna, open_study(optuna, tmp_path))] == [e.number for e in found]
    repeated = repeats(tmp_path)
    assert repeated
    for each in repeated:  # the search learns the score that the trial has
        assert each.state == COMPLETE
        assert each.value == score(each.params)
        assert open_study(optuna, tmp_path).trials[each.user_attrs[REPEATS]].params == each.params


def test_repetitions_do_not_count_as_trials(tmp_path: Path) -> None:
    space = searched(f"{SAMPLES}=4..11")
    assert len(propose(space, tmp_path, 5)) == 5
    assert not is_exhausted(optuna, open_study(optuna, tmp_path), space)
    assert [each.trial for each in propose(space, tmp_path, 7)] == [5, 6]


def test_a_stopped_search_proposes_the_same(tmp_path: Path) -> None:
    space = searched(f"{TEMPERATURE}=1,4,9", f"{SAMPLES}=4..7")
    whole = propose(space, tmp_path / "whole", 12)
    assert propose(space, tmp_path / "parts", 12, is_stopped=True) == whole


def test_values_that_failed_are_not_tried_again(tmp_path: Path) -> None:
    space = searched(f"{TEMPERATURE}=1,4,9")
    found = propose(space, tmp_path, 9, told=lambda values: None if values[TEMPERATURE] == "4" else score(values))
    assert sorted(str(each.values[TEMPERATURE]) for each in found) == ["1", "4", "9"]


@pytest.fixture
def stubborn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that proposes the first values every time."""

    class Stubborn(optuna.samplers.RandomSampler):  # type: ignore[misc]
        def sample_independent(self, study: Any, trial: Any, name: str, distribution: Any) -> Any:
            return distribution.choices[0] if hasattr(distribution, "choices") else distribution.low

    monkeypatch.setattr(optuna.samplers, "TPESampler", Stubborn)


@pytest.mark.usefixtures("stubborn")
def test_a_search_that_repeats_itself_draws_values_that_no_trial_has(tmp_path: Path) -> None:
    space = searched(f"{TEMPERATURE}=1,4,9", f"{SAMPLES}=4..5")
    found = propose(space, tmp_path, 20)
    assert len({tuple(each.values.values()) for each in found}) == 6
    assert [each.number for each in found] == [place * (MOST_REPEATS + 1) for place in range(6)]


@pytest.mark.usefixtures("stubborn")
def test_the_trials_of_an_earlier_version_all_count(tmp_path: Path) -> None:
    space = searched(f"{TEMPERATURE}=4,1,9")
    study = open_study(optuna, tmp_path)
    distribution = {TEMPERATURE: optuna.distributions.CategoricalDistribution(("4", "1", "9"))}
    for choice, value in (("4", None), ("4", 4.0), ("1", 1.0), ("4", 4.0)):
        study.enqueue_trial({TEMPERATURE: choice})
        asked = study.ask(distribution)
        study.tell(asked.number, value) if value else study.tell(asked.number, state=FAIL)
    assert [each.number for each in trials_of(optuna, study)] == [0, 1, 2, 3]
    assert propose(space, tmp_path, 4) == []
    (proposal,) = propose(space, tmp_path, 9)
    assert (proposal.trial, proposal.values) == (4, {TEMPERATURE: "9"})
    assert {each.value for each in repeats(tmp_path)} == {4.0}  # a score rather than a failure


def test_a_range_of_numbers_never_ends(tmp_path: Path) -> None:
    space = searched("terms.kd.weight=0.1..10:log", f"{TEMPERATURE}=1,4")
    assert space.combinations is None
    assert len(propose(space, tmp_path, 15)) == 15
    assert not is_exhausted(optuna, open_study(optuna, tmp_path), space)
    assert searched(f"{SAMPLES}=4..32:log", f"{TEMPERATURE}=1,4").combinations == 58
