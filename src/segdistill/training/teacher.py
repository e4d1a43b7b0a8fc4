"""Teacher of a run with its weights. It is scored once on each split and rejected if its score is too low."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from torch import nn

from segdistill.errors import UserError
from segdistill.evaluation.scoring import ImageSet, Score, evaluate
from segdistill.recipes import load
from segdistill.recipes.schema import Data, Evaluation, Teacher
from segdistill.replay.key import network_digest
from segdistill.runs.metric import MORE, metric_of, read_result
from segdistill.training.console import quiet
from segdistill.training.score_record import COSTS, score_record


@dataclass
class LoadedTeacher:
    """A teacher with weights.

    Attributes:
        section: The recipe's section of the teacher.
        build: Builds the network with its weights, on the engine's device.
        dataset: Returns a split of the data set by name.
        fabric: The engine.
        data: The recipe's section of the data.
        protocol: The recipe's section of the evaluation.
    """

    section: Teacher
    build: Callable[[], nn.Module]
    dataset: Callable[[str], ImageSet]
    fabric: Fabric
    data: Data
    protocol: Evaluation
    _scores: dict[str, Score] = field(default_factory=dict)
    _records: dict[str, dict[str, Any]] = field(default_factory=dict)
    _network: nn.Module | None = None
    _digest: str | None = None

    def __post_init__(self) -> None:
        self._network = self.build()

    @property
    def network(self) -> nn.Module:
        """The network. After :meth:`release` it is built again on first use."""
        if self._network is None:
            with quiet():
                self._network = self.build()
        return self._network

    def release(self) -> None:
        """Forget the network until it is used again, so that its memory is freed."""
        self._network = None

    @property
    def digest(self) -> str:
        """The digest of the network's parameters and buffers."""
        if self._digest is None:
            self._digest = network_digest(self.network)
        return self._digest

    def score(self, split: str) -> Score:
        """Return the score on a split. It is measured once."""
        if split not in self._scores:
            self._scores[split] = evaluate(
                self.network, self.dataset(split), self.fabric, self.data, "the teacher", self.protocol
            )
        return self._scores[split]

    def checked_score(self) -> Score:
        """Return the score on val.

        Raises:
            UserError: If the score is below ``teacher.min_miou``.
        """
        score, section = self.score("val"), self.section
        if score.value < section.min_miou:
            is_trained_here = all(Path(each.weights or "").is_dir() for each in section.each.values())
            key = "teacher.members.NAME" if section.members else "teacher"
            remedy = (
                f"train it longer, with {key}.train.iterations=NUMBER and another --run-dir"
                if is_trained_here
                else "check that its weights belong to this data set with the classes in the same order"
            )
            raise UserError(
                f"the teacher has {score.value:.1%} {score.metric.name} on val, below teacher.min_miou="
                f"{section.min_miou:g}: {remedy}, or lower teacher.min_miou"
            )
        return score

    def record(self, split: str) -> dict[str, Any]:
        """Return scores and costs under the keys of result.json, read from the teacher's run if it has the same data.

        Otherwise they are measured.
        """
        if split not in self._records:
            self._records[split] = self._known_record(split) or score_record(
                self.score(split), self.network, self.dataset(split), self.data, split, self.protocol
            )
        return self._records[split]

    def _known_record(self, split: str) -> dict[str, Any] | None:
        if self.section.weights is None:
            return None
        folder = Path(self.section.weights)
        if not (folder / "recipe.yaml").exists() or not (folder / "result.json").exists():
            return None
        result = read_result(folder / "result.json", *COSTS)
        recipe = load(folder / "recipe.yaml")
        if (recipe.data, recipe.evaluation, result["split"]) != (self.data, self.protocol, split):
            return None
        metric = metric_of(result)
        return {key: result[key] for key in (metric.key, metric.classes, *MORE, *COSTS) if key in result}
