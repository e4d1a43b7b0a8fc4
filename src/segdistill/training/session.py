"""A recipe opened on this machine: its engine, data sets, teacher and Distiller, each made once."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from segdistill.data import Layout, TrainingStream, class_frequencies, open_layout
from segdistill.data.datasets.open import open_split, with_classes
from segdistill.distillation.build import build_terms
from segdistill.distillation.distiller import Distiller
from segdistill.distillation.facts import NetworkPair
from segdistill.evaluation.finite import check_loaded
from segdistill.evaluation.scoring import ImageSet, Score, evaluate
from segdistill.recipes import Recipe
from segdistill.recipes.schema import Data, Teacher, Train
from segdistill.training.build import build_network, build_teacher, training_augmentation
from segdistill.training.engine import launch
from segdistill.training.teacher import LoadedTeacher

SPLITS = ("train", "val", "test")


class Session:
    """What a recipe names, opened on first use and then kept.

    Sessions of other recipes come from :meth:`variant` and share what their recipes have in common. So a comparison
    scans its data set once, decodes a cached image once, and builds and scores its teacher once.

    Args:
        recipe: What to open.
        layout: The data set's files, where they are scanned already.
    """

    def __init__(self, recipe: Recipe, layout: Layout | None = None) -> None:
        self.recipe = recipe
        self._shared = _Shared()
        self._data = _OpenedData(recipe.data, layout)

    def variant(self, recipe: Recipe) -> "Session":
        """Return the session of another recipe. It shares the engine, and data and teacher where they are equal."""
        other = copy.copy(self)
        other.recipe = recipe
        if recipe.data != self.recipe.data:
            other._data = _OpenedData(recipe.data)
        return other

    @property
    def fabric(self) -> Fabric:
        """The engine; launched once for all sessions that need the same one."""
        return self._engine.fabric

    @property
    def _engine(self) -> "_Engine":
        train = self.recipe.train
        key = repr((train.accelerator, train.devices, train.nodes, train.precision))
        if key not in self._shared.engines:
            self._shared.engines[key] = _Engine.launched(train)
        return self._shared.engines[key]

    def reset_precision(self) -> None:
        """Give the engine its first loss scale back, so that a run does not depend on the runs before it."""
        self._engine.reset()

    @property
    def final_split(self) -> str:
        """The split that results are reported on: test where the data set has one, else val."""
        return "test" if "test" in {split.name for split in self._data.layout.splits} else "val"

    @property
    def scored_splits(self) -> tuple[str, ...]:
        """The splits that networks are scored on, each once."""
        return tuple(dict.fromkeys(("val", self.final_split)))

    def dataset(self, split: str) -> ImageSet:
        """Return one split. Labels keep their own size where they are scored.

        Raises:
            UserError: There is no such split, or the data set is not laid out as its name says.
        """
        return self._data.split(split)

    def stream(self) -> TrainingStream:
        """Return the training images by position in the run, augmented."""
        dataset = self.dataset("train")
        return TrainingStream(dataset, training_augmentation(self.recipe.data, dataset.task), self.recipe.seed)

    def class_pixels(self) -> dict[str, int]:
        """Count the pixels of each class in all training labels; for classification the images."""
        return self._data.class_pixels

    @property
    def teacher_section(self) -> Teacher | None:
        """The teacher that the student learns from; None where the recipe does not distill."""
        if not self.recipe.distils:
            return None
        return self._shared.teacher or self.recipe.teacher

    def use_teacher(self, teacher: Teacher) -> None:
        """Take this teacher in all variants that distill, in place of their own: a trained one, or a comparison's."""
        self._shared.teacher = teacher

    def teacher(self) -> LoadedTeacher | None:
        """Return the teacher with its weights; None where the recipe does not distill, or it is not trained yet.

        Raises:
            UserError: Weights that do not fill it or are not finite.
        """
        section = self.teacher_section
        if section is None or not section.is_trained:
            return None
        key = _key(section) + str(self.fabric.device)
        if key not in self._data.teachers:
            network = self.fabric.to_device(build_teacher(section, self.dataset("train").classes))
            check_loaded(network, "the teacher's")
            self._data.teachers[key] = LoadedTeacher(section, network, self.dataset, self.fabric, self.recipe.data)
        return self._data.teachers[key]

    def evaluate(self, network: nn.Module, split: str, who: str) -> Score:
        """Score a network on a split; see :func:`segdistill.evaluation.scoring.evaluate`."""
        return evaluate(network, self.dataset(split), self.fabric, self.recipe.data, who)

    def build_student(self) -> nn.Module:
        """Build the student on the engine's device; its first weights depend on the recipe's seed alone.

        Raises:
            UserError: See :func:`build_network`; or its weights are not finite.
        """
        torch.manual_seed(self.recipe.seed)
        student = build_network(self.recipe.student, self.dataset("train").classes, strict=False)
        student = student.to(self.fabric.device)
        check_loaded(student, "the student's")
        if self.fabric.world_size > 1 and self.fabric.device.type == "cuda":  # a Distiller's hooks would be dropped
            student = nn.SyncBatchNorm.convert_sync_batchnorm(student)  # type: ignore[no-untyped-call]
        return student

    def build_distiller(self, teacher: nn.Module | None = None) -> Distiller:
        """Build the student and join it with its teacher and terms, on the engine's device.

        Args:
            teacher: Takes the place of :meth:`teacher`, for instance one that is not trained yet.

        Raises:
            UserError: See :meth:`build_student`, :func:`build_terms` and :class:`Distiller`.
        """
        loaded = self.teacher() if teacher is None else None
        frozen = loaded.network if loaded is not None else teacher
        student, dataset = self.build_student(), self.dataset("train")
        probe = torch.zeros(1, 3, *self.recipe.data.crop)
        void = dataset.ignore_index
        pair = NetworkPair(student, frozen, len(dataset.classes), probe.to(self.fabric.device), void)
        terms = build_terms(self.recipe.term_settings, pair)
        return Distiller(student, frozen, terms, probe=probe, ignore_index=void).to(self.fabric.device)

    def build_trial(self) -> Distiller:
        """Build a Distiller to try a few steps with. A teacher that is not trained yet has random weights."""
        section, teacher = self.teacher_section, None
        if section is not None and not section.is_trained:
            teacher = self.fabric.to_device(build_teacher(section, self.dataset("train").classes))
        return self.build_distiller(teacher).train()


@dataclass
class _Shared:
    """What all variants of a session share."""

    engines: dict[str, "_Engine"] = field(default_factory=dict)
    teacher: Teacher | None = None


@dataclass
class _Engine:
    """An engine, with the state of its precision before any run."""

    fabric: Fabric
    state: dict[str, Any]

    @classmethod
    def launched(cls, train: Train) -> "_Engine":
        fabric = launch(train)
        return cls(fabric, copy.deepcopy(fabric.strategy.precision.state_dict()))

    def reset(self) -> None:
        if self.state:  # only a loss scale is one
            self.fabric.strategy.precision.load_state_dict(copy.deepcopy(self.state))


@dataclass
class _OpenedData:
    """A data set's layout and splits, and the teachers that were built for its classes."""

    data: Data
    scanned: Layout | None = None
    teachers: dict[str, LoadedTeacher] = field(default_factory=dict)
    _splits: dict[str, ImageSet] = field(default_factory=dict)

    @cached_property
    def layout(self) -> Layout:
        return self.scanned or open_layout(self.data.name, self.data.root, self.data.split)

    @cached_property
    def _with_classes(self) -> Layout:
        return with_classes(self.layout)

    def split(self, name: str) -> ImageSet:
        if name not in self._splits:
            self.layout.split(name)  # a missing split is an error before any mask is read
            self._splits[name] = open_split(self._with_classes, name, **self._options(name))
        return self._splits[name]

    def _options(self, split: str) -> Mapping[str, Any]:
        data = self.data
        return {
            "scale": None if data.scale == 1 else data.scale,
            "native_labels": split != "train",
            "cache": data.cache,
            "size": data.size,
            "length": data.images[SPLITS.index(split)],
        }

    @cached_property
    def class_pixels(self) -> dict[str, int]:
        counted = class_frequencies(self.split("train"))
        return dict(zip(counted.names, counted.counts, strict=True))


def _key(teacher: Teacher) -> str:
    return teacher.model_dump_json()
