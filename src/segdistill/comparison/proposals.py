"""Proposals of a sweep: Optuna chooses the values of each trial, and its journal keeps them with their scores.

A proposal with the values of an earlier trial gets that trial's score and is not trained: the same recipe and seed give
the same result.
"""

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from segdistill.comparison.search import Dimension, Search, Value
from segdistill.errors import UserError

REPEATS = "repeats"
"""The mark of a proposal that repeats a trial, with the number of that trial."""

MOST_REPEATS = 10
"""The number of repetitions in a row after which values that no trial has are drawn at random."""

Values = tuple[Value, ...]


@dataclass(frozen=True)
class Proposal:
    """A trial to train.

    Attributes:
        trial: Its place among the trials, from 0.
        number: Its number in the journal, which counts repetitions too.
        values: Its values by key.
    """

    trial: int
    number: int
    values: Mapping[str, Value]


def open_optuna() -> ModuleType:
    """Return Optuna.

    Raises:
        UserError: It is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise UserError('sweep needs the package optuna: pip install "segdistill[all]"') from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    module: ModuleType = optuna
    return module


def open_study(optuna: ModuleType, folder: Path) -> Any:
    """Return the study in the journal of a folder; a new one if there is none.

    Raises:
        UserError: The journal is damaged.
    """
    file = folder / "optuna.log"
    journal = optuna.storages.journal.JournalFileBackend(str(file))
    try:
        storage = optuna.storages.JournalStorage(journal)
        return optuna.create_study(storage=storage, study_name="sweep", direction="maximize", load_if_exists=True)
    except (
        AssertionError,
        AttributeError,
        KeyError,
        RecursionError,
        TypeError,
        ValueError,
    ):  # lines that are no records
        raise UserError(f"{file} is damaged; give another --run-dir, or delete the folder") from None


def trials_of(optuna: ModuleType, study: Any) -> list[Any]:
    """Return the trials of a study without repetitions, in order. Those of earlier versions have no mark: all count."""
    waiting = optuna.trial.TrialState.WAITING
    return [each for each in study.trials if REPEATS not in each.user_attrs and each.state != waiting]


def next_trial(optuna: ModuleType, study: Any, search: Search, trials: int) -> Proposal | None:
    """Return the trial that was stopped, or a new one; None if ``trials`` exist or no combination of values remains."""
    states = optuna.trial.TrialState
    keys = [dimension.key for dimension in search.dimensions]
    while True:
        existing = trials_of(optuna, study)
        for place, started in enumerate(existing):
            if started.state == states.RUNNING and set(started.params) == set(keys):
                return Proposal(place, started.number, {key: started.params[key] for key in keys})
        for started in study.get_trials(states=(states.RUNNING,)):
            study.tell(started.number, state=states.FAIL)  # killed before all values, or the score, were there
        tried = _tried(existing, keys)
        if len(existing) >= trials or len(tried) == search.combinations:
            return None
        number = len(study.trials)
        seed = (search.base.seed * 2_654_435_761 + number) % 2**32
        if search.combinations is not None and _ends_with_repeats(study.trials):
            study.enqueue_trial(dict(zip(keys, _untried(search, tried, seed), strict=True)))
        study.sampler = optuna.samplers.TPESampler(seed=seed)
        asked = study.ask({dimension.key: _distribution(optuna, dimension) for dimension in search.dimensions})
        values = {key: asked.params[key] for key in keys}
        earlier = tried.get(tuple(values.values()))
        if earlier is None:
            return Proposal(len(existing), asked.number, values)
        asked.set_user_attr(REPEATS, earlier.number)
        if earlier.value is None:
            study.tell(asked.number, state=states.FAIL)
        else:
            study.tell(asked.number, earlier.value)


def is_exhausted(optuna: ModuleType, study: Any, search: Search) -> bool:
    """Return True if there is a trial for every combination of values."""
    keys = [dimension.key for dimension in search.dimensions]
    return len(_tried(trials_of(optuna, study), keys)) == search.combinations


def _tried(existing: Collection[Any], keys: Collection[str]) -> dict[Values, Any]:
    """Return a trial for each combination of values, with a score if one has it. A failed one would fail again."""
    tried: dict[Values, Any] = {}
    for each in existing:
        if set(each.params) == set(keys):
            values = tuple(each.params[key] for key in keys)
            if values not in tried or tried[values].value is None:
                tried[values] = each
    return tried


def _ends_with_repeats(proposed: list[Any]) -> bool:
    last = proposed[-MOST_REPEATS:]
    return len(last) == MOST_REPEATS and all(REPEATS in each.user_attrs for each in last)


def _untried(search: Search, tried: Collection[Values], seed: int) -> Values:
    """Draw a combination of values that no trial has; there must be one."""
    draw = random.Random(seed)
    while True:
        values = tuple(_drawn(dimension, draw) for dimension in search.dimensions)
        if values not in tried:
            return values


def _drawn(dimension: Dimension, draw: random.Random) -> Value:
    return (
        draw.choice(dimension.choices) if dimension.choices else draw.randint(int(dimension.low), int(dimension.high))
    )


def _distribution(optuna: ModuleType, dimension: Dimension) -> Any:
    if dimension.choices:
        return optuna.distributions.CategoricalDistribution(dimension.choices)
    if dimension.whole:
        return optuna.distributions.IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return optuna.distributions.FloatDistribution(dimension.low, dimension.high, log=dimension.log)
