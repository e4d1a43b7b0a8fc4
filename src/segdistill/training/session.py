"""Session: the engine, data sets, teacher and Distiller of a recipe on this machine, each built once."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from segdistill.data import Layout, TrainingStream, class_frequencies, open_layout
from segdistill.data.datasets.open import open_split, with_classes
from segdistill.data.decoded.cache import default_folder, described, prepare
from segdistill.distillation.build import build_terms
from segdistill.distillation.distiller import Distiller
from segdistill.distillation.facts import NetworkPair
from segdistill.errors import UserError
from segdistill.evaluation.finite import check_loaded
from segdistill.evaluation.scoring import ImageSet, Score, evaluate
from segdistill.recipes import Recipe
from segdistill.recipes.schema import Data, Teacher, Train
from segdistill.replay.answers import Answers
from segdistill.replay.crops import Crops, ReplayStream
from segdistill.speed.recompute import recompute
from segdistill.training.build import build_network, build_teacher, freeze, training_augmentation
from segdistill.training.engine import has_several_gpus, launch
from segdistill.training.synchronized import synchronized
from segdistill.training.teacher import LoadedTeacher

SPLITS = ("train", "val", "test")


class Session:
    """The objects that a recipe names, opened on first use and then kept.

    Sessions of other recipes come from :meth:`variant` and share what their recipes have in common. A comparison
    therefore scans its data set once, decodes a cached image once, and builds and scores its teacher once.

    Args:
        recipe: The recipe to open.
        layout: The data set's files, if they are already scanned.
        runs: The folder that holds the folder of the run, or of the comparison or sweep.
    """

    def __init__(self, recipe: Recipe, layout: Layout | None = None, runs: Path = Path("runs")) -> None:
        self.recipe = recipe
        self.runs = runs
        self._shared = _Shared()
        self._data = _OpenedData(recipe.data, layout)

    def variant(self, recipe: Recipe) -> "Session":
        """Return the session of another recipe. It shares the engine, data and teacher if the recipes agree on them."""
        other = copy.copy(self)
        other.recipe = recipe
        if recipe.data != self.recipe.data:
            other._data = _OpenedData(recipe.data)
        return other

    @property
    def fabric(self) -> Fabric:
        """Lightning Fabric, launched once for all sessions with the same devices and precision."""
        return self._engine.fabric

    @property
    def _engine(self) -> "_Engine":
        train = self.recipe.train
        key = repr((train.accelerator, train.devices, train.nodes, train.precision))
        if key not in self._shared.engines:
            self._shared.engines[key] = _Engine.launched(train)
        return self._shared.engines[key]

    def reset_precision(self) -> None:
        """Reset the loss scale of the engine, so that a run does not depend on the runs before it."""
        self._engine.reset()

    @property
    def final_split(self) -> str:
        """The split that results are reported on: test if the data set has one, else val."""
        return "test" if "test" in {split.name for split in self._data.layout.splits} else "val"

    @property
    def scored_splits(self) -> tuple[str, ...]:
        """The splits that networks are scored on, each once."""
        return tuple(dict.fromkeys(("val", self.final_split)))

    def dataset(self, split: str) -> ImageSet:
        """Return one split. In val and test, which are scored, labels keep the size of their files.

        Raises:
            UserError: If there is no such split, or the data set does not have the layout that ``data.name`` names.
        """
        return self._data.split(split)

    def prepare_cache(self, emit: Callable[[str], None]) -> None:
        """Decode the images that the run reads once, into files or onto the device, depending on ``data.cache``.

        Args:
            emit: Receives lines on the work.

        Raises:
            UserError: See :func:`segdistill.data.decoded.cache.prepare`.
        """
        for split in dict.fromkeys(("train", *self.scored_splits)):
            prepare(self.dataset(split), split, emit, self.fabric.device)

    def describe_cache(self, emit: Callable[[str], None]) -> None:
        """Emit a line for each split on what :meth:`prepare_cache` will do, with its size."""
        for split in dict.fromkeys(("train", *self.scored_splits)):
            if line := described(self.dataset(split), split, self.fabric.device):
                emit(line)

    def stream(self, answers: Answers | None = None) -> TrainingStream:
        """Return the augmented training images by position in the run.

        Args:
            answers: The recorded answers of the teacher, which the items then hold too.
        """
        dataset, seed = self.dataset("train"), self.recipe.seed
        if (crops := self.crops()) is not None:
            return ReplayStream(crops, seed, answers)
        return TrainingStream(dataset, training_augmentation(self.recipe.data, dataset.task), seed)

    def crops(self) -> Crops | None:
        """Return the crops that the training draws from; None if each crop is a new one."""
        section, dataset = self.teacher_section, self.dataset("train")
        if section is None or section.replay is None:
            return None
        return Crops(dataset, training_augmentation(self.recipe.data, dataset.task), section.replay)

    @property
    def asked(self) -> tuple[str, ...]:
        """The teacher's features to record: its logits, and what the terms of all variants built so far read."""
        return tuple(sorted({"logits", *self._shared.asked}))

    def class_pixels(self) -> dict[str, int]:
        """Return the number of pixels of each class in the training labels; for classification, of images."""
        return self._data.class_pixels

    @property
    def teacher_section(self) -> Teacher | None:
        """The recipe's section of the teacher; None if the recipe does not distill."""
        if not self.recipe.distils:
            return None
        return self._shared.teacher or self.recipe.teacher

    @property
    def shared_teacher(self) -> Teacher | None:
        """The teacher given to :meth:`use_teacher`; None if there was none."""
        return self._shared.teacher

    def use_teacher(self, teacher: Teacher) -> None:
        """Use this teacher in all variants that distill, instead of their recipe's: a trained or a shared one."""
        self._shared.teacher = teacher

    def teacher(self) -> LoadedTeacher | None:
        """Return the teacher with its weights; None if the recipe does not distill, or it is still to be trained.

        Raises:
            UserError: If the weights do not fill the network, or are not finite.
        """
        section = self.teacher_section
        if section is None or not section.is_trained:
            return None
        key = _key(section) + self.recipe.evaluation.model_dump_json() + str(self.fabric.device)
        if key not in self._data.teachers:
            fabric, classes = self.fabric, self.dataset("train").classes

            def load() -> nn.Module:
                network = fabric.to_device(build_teacher(section, classes))
                check_loaded(network, "the teacher's")
                return network

            self._data.teachers[key] = LoadedTeacher(
                section, load, self.dataset, self.fabric, self.recipe.data, self.recipe.evaluation
            )
        return self._data.teachers[key]

    def evaluate(self, network: nn.Module, split: str, who: str, *, keeps_images: bool = False) -> Score:
        """Score a network on a split; see :func:`segdistill.evaluation.scoring.evaluate`."""
        recipe, dataset = self.recipe, self.dataset(split)
        return evaluate(network, dataset, self.fabric, recipe.data, who, recipe.evaluation, keeps_images=keeps_images)

    def build_student(self) -> nn.Module:
        """Build the student on the engine's device. Its initial weights depend only on the recipe's seed.

        Raises:
            UserError: See :func:`build_network` and :func:`freeze`; or if the weights are not finite.
        """
        torch.manual_seed(self.recipe.seed)
        student = build_network(self.recipe.student, self.dataset("train").classes, strict=False)
        student = student.to(self.fabric.device)
        check_loaded(student, "the student's")
        freeze(student, self.recipe.student.freeze)
        if self.recipe.train.recompute and not recompute(student):
            raise UserError(
                f"train.recompute: {type(student).__name__} has no blocks of several layers in a sequence or list to "
                "compute again; give train.recompute=false"
            )
        return self._synchronized(student)  # before a Distiller is built: a converted layer has no hooks

    def build_distiller(self, teacher: nn.Module | None = None) -> Distiller:
        """Build a Distiller of student, teacher and terms, on the engine's device.

        Args:
            teacher: The teacher to use instead of :meth:`teacher`, for instance one that is not trained yet.

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
        distiller = Distiller(student, frozen, terms, probe=probe, ignore_index=void).to(self.fabric.device)
        distiller.reminds = False  # a run makes every call, and checks its terms itself
        self._synchronized(distiller.terms)
        self._shared.asked.update(distiller.teacher_features)
        return distiller

    @property
    def images_per_pass(self) -> int:
        """The number of images that one process has in one forward pass of a step."""
        train = self.recipe.train
        return train.batch_size // train.accumulate // self.fabric.world_size

    def _synchronized(self, module: nn.Module) -> nn.Module:
        """Return the module with the batch normalization of all processes, if there are several, each with a GPU."""
        return synchronized(module) if has_several_gpus(self.fabric) else module

    def build_trial(self) -> Distiller:
        """Build a Distiller for a few trial steps. A teacher that is not trained yet has random weights."""
        section, teacher = self.teacher_section, None
        if section is not None and not section.is_trained:
            teacher = self.fabric.to_device(build_teacher(section, self.dataset("train").classes))
        return self.build_distiller(teacher).train()


@dataclass
class _Shared:
    """State that all variants of a session share."""

    engines: dict[str, "_Engine"] = field(default_factory=dict)
    teacher: Teacher | None = None
    asked: set[str] = field(default_factory=set)


@dataclass
class _Engine:
    """An engine and the state of its precision before any run."""

    fabric: Fabric
    state: dict[str, Any]

    @classmethod
    def launched(cls, train: Train) -> "_Engine":
        fabric = launch(train)
        return cls(fabric, copy.deepcopy(fabric.strategy.precision.state_dict()))

    def reset(self) -> None:
        if self.state:  # empty unless the precision has a loss scale
            self.fabric.strategy.precision.load_state_dict(copy.deepcopy(self.state))


@dataclass
class _OpenedData:
    """The layout and splits of a data set, and the teachers built for its classes."""

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
            self.layout.split(name)  # raises if the split is missing, before any mask is read
            self._splits[name] = open_split(self._with_classes, name, **self._options(name))
        return self._splits[name]

    def _options(self, split: str) -> Mapping[str, Any]:
        data = self.data
        return {
            "scale": None if data.scale == 1 else data.scale,
            "native_labels": split != "train",
            "cache": data.cache,
            "cache_folder": data.cache_folder or (None if data.root is None else default_folder(data.root)),
            "size": data.size,
            "length": data.images[SPLITS.index(split)],
        }

    @cached_property
    def class_pixels(self) -> dict[str, int]:
        frequencies = class_frequencies(self.split("train"))
        return dict(zip(frequencies.names, frequencies.counts, strict=True))


def _key(teacher: Teacher) -> str:
    return teacher.model_dump_json()
