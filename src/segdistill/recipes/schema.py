"""Schema of a recipe, shared by Python, YAML and the command line."""

import json
from fractions import Fraction
from math import ceil
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, field_validator, model_validator

from segdistill.catalogue.cards import loss_card
from segdistill.catalogue.methods import terms_of
from segdistill.data.caches import KINDS, Cache

_SCALED = ("iterations", "warmup", "validate_every")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Data(_Strict):
    """Data set of a recipe, and how its images are read."""

    name: str = Field(
        "scenes",
        description="cityscapes, camvid, voc, ade20k, cocostuff, imagenet (classification), folder, hf (Hugging Face); "
        "scenes and shapes are generated",
    )
    root: str | None = Field(None, description="the data set's folder")
    split: float | None = Field(
        None, gt=0, lt=1, description="for a folder without train/ and val/: the share of its images to train on"
    )
    crop: tuple[PositiveInt, PositiveInt] = Field((360, 360), description="height and width of a training crop")
    scales: tuple[PositiveFloat, PositiveFloat] = Field(
        (0.5, 2.0), description="smallest and largest scale of the random resizing, in steps of 0.1"
    )
    short_side: PositiveInt | None = Field(
        None, description="short side of an image at scale 1 of the random resizing; null: the image's own"
    )
    blur: float = Field(
        0.0, ge=0, le=1, description="share of the training crops to blur, by a Gaussian of at most one pixel"
    )
    scale: PositiveFloat = Field(1.0, description="factor by which images are resized when they are read")
    cache: Cache = Field(
        False,
        description="keep decoded images: true or memory (in each loader process), memmap (in a file for each split, "
        "shared by all processes and runs), device (in the memory of the GPU, where crops are cut and scaled too)",
    )
    cache_folder: str | None = Field(
        None, description="cache=memmap: the folder of decoded images; null: segdistill_cache in the data set's folder"
    )
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = Field(
        0,
        description="loader processes; 0 loads in the training process; auto: measured before the first step of a run "
        "of 200 steps or more, else 0",
    )
    allow_empty_classes: bool = Field(False, description="train even if a class has no pixel in the training labels")
    size: tuple[PositiveInt, PositiveInt] = Field((96, 160), description="scenes, shapes: height and width of an image")
    images: tuple[PositiveInt, PositiveInt, PositiveInt] = Field(
        (400, 60, 200), description="scenes, shapes: number of images to generate for train, val and test"
    )

    @field_validator("cache", mode="before")
    @classmethod
    def _known(cls, value: object) -> object:
        if value not in (True, False, *KINDS):
            raise ValueError(f"expected true, false, {', '.join(KINDS)}, got {value!r}")
        return value

    @property
    def loaders(self) -> int:
        """The number of loader processes where none is measured."""
        return 0 if self.workers == "auto" else self.workers

    @model_validator(mode="after")
    def _ordered(self) -> "Data":
        if self.scales[0] > self.scales[1]:
            raise ValueError(f"scales are [smallest, largest], got {list(self.scales)}")
        if self.cache_folder is not None and self.cache != "memmap":
            raise ValueError("cache_folder is the folder of cache=memmap; set data.cache=memmap, or leave it out")
        return self


class Network(_Strict):
    """Network of a recipe: a paper's network, ``architecture/encoder`` of smp, or ``package.module:callable``."""

    model: str = Field(
        description="a paper's network, architecture/encoder of smp, torchvision/name, or package.module:callable"
    )
    options: dict[str, Any] = Field({}, description="keyword arguments of the network's constructor")
    weights: str | None = Field(None, description="local .safetensors or .pth file, or a run's folder")
    weights_key: str | None = Field(
        None, description="the network to load if the file holds several: an entry or a prefix"
    )
    mean: tuple[float, float, float] | None = Field(
        None,
        description="mean of the input normalization that the network expects; null: its encoder's, or ImageNet's",
    )
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = Field(
        None, description="standard deviation of the input normalization; see mean"
    )
    align_corners: bool | None = Field(
        None, description="whether its logits are upsampled with aligned corners; null: as its library does"
    )
    freeze: tuple[str, ...] = Field(
        (),
        description="modules that do not learn when the network is trained, and stay in eval mode: paths, as in "
        "[encoder]",
    )


class Train(_Strict):
    """Training settings. The defaults are the protocol of the CIRKD code base."""

    budget: PositiveFloat = Field(
        1.0,
        allow_inf_nan=False,
        description="factor of iterations, warmup and validate_every: 0.1 trains for a tenth of the steps; loading "
        "the recipe multiplies them and sets budget to 1",
    )
    iterations: PositiveInt = Field(40_000, description="optimizer steps")
    epochs: PositiveFloat | None = Field(
        None,
        allow_inf_nan=False,
        description="passes over the training images, instead of iterations; loading the recipe converts it to "
        "iterations",
    )
    batch_size: PositiveInt = Field(
        16, description="images per optimizer step, over all devices and accumulated passes"
    )
    accumulate: PositiveInt = Field(1, description="forward and backward passes per optimizer step")
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="optimizer of the student and the losses' adapters")
    learning_rate: PositiveFloat = Field(0.02, description="learning rate after the warm-up, at its highest")
    rate_factors: dict[str, PositiveFloat] = Field(
        {},
        description="factors of the learning rate by the name of a module of the student, as in {encoder: 0.1}; "
        "adapters and layers of losses have factor 1",
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of sgd")
    weight_decay: float = Field(1e-4, ge=0, description="weight decay of every parameter")
    schedule: Literal["poly", "cosine", "step"] = Field("poly", description="decay of the learning rate over the run")
    power: float = Field(0.9, ge=0, description="schedule poly: exponent in (1 - step / iterations) ** power")
    decay: float = Field(0.1, gt=0, le=1, description="schedule step: factor at each point of decay_at")
    decay_at: tuple[float, ...] = Field((0.3, 0.6, 0.9), description="schedule step: points, as fractions of the run")
    floor: float = Field(0.0, ge=0, description="learning rate at the end of the decay")
    warmup: int = Field(0, ge=0, description="steps over which the learning rate grows linearly from 0")
    clip: PositiveFloat | None = Field(None, description="clip the gradient norm to this; null: no clipping")
    clip_modules: PositiveFloat | None = Field(
        None,
        description="clip the joint gradient norm of what the terms train, adapters and layers of losses, to this, "
        "after clip; the student's gradients are not changed; null: no clipping",
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        "32-true",
        description="float32, or mixed precision with bfloat16 or float16; losses are always computed in float32; "
        "16-mixed skips steps, often about a dozen at first, until its loss scale fits the student's gradients",
    )
    plain: bool = Field(
        False,
        description="run both networks as they are; false: measure before the first step whether folded batch norm, "
        "channels last or (the teacher) bfloat16 is faster, keep the choice in speed.json, and use fused optimizers on "
        "a GPU",
    )
    compile: bool = Field(
        False,
        description="compile student, teacher and losses with torch.compile; the first steps take minutes: for "
        "long runs",
    )
    recompute: bool = Field(
        False,
        description="hold less in memory for larger batches: compute the student's blocks again in the backward pass, "
        "for about a third more time",
    )
    accelerator: str = Field("auto", description="cpu, cuda, mps, ...; auto: the best available")
    devices: int | Literal["auto"] = Field(1, description="number of processes on this machine, one per GPU")
    nodes: PositiveInt = Field(1, description="number of machines")
    validate_every: PositiveInt | None = Field(None, description="steps between validations; null: a tenth of the run")
    save_every: PositiveInt | None = Field(
        None, description="steps between checkpoints; null: the same as validate_every"
    )
    log_every: PositiveInt = Field(10, description="steps between two lines of metrics.jsonl")
    tensorboard: bool = Field(False, description="also write TensorBoard events (needs the extra all)")

    @model_validator(mode="after")
    def _fits_together(self) -> "Train":
        if self.epochs is not None and "iterations" in self.model_fields_set:
            raise ValueError("epochs and iterations both set the length; give one of them")
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} is not a multiple of accumulate {self.accumulate}")
        if self.floor > self.learning_rate:
            raise ValueError(f"floor {self.floor} is above learning_rate {self.learning_rate}")
        if not all(0 < point < 1 for point in self.decay_at):
            raise ValueError(f"decay_at takes fractions of the run in (0, 1), got {list(self.decay_at)}")
        return self

    def in_steps(self, images: int) -> "Train":
        """Return the settings with epochs and budget converted to numbers of steps, rounded up.

        Args:
            images: Number of training images in an epoch.
        """
        # Fractions, because 0.07 * 300 in floats is a little more than 21, which would round up to 22.
        steps = {name: getattr(self, name) for name in _SCALED}
        if self.epochs is not None:
            steps["iterations"] = ceil(Fraction(str(self.epochs)) * images / self.batch_size)
        share = Fraction(str(self.budget))
        scaled = {name: ceil(count * share) for name, count in steps.items() if count is not None}
        return self.model_copy(update={**scaled, "epochs": None, "budget": 1.0})


class Teacher(Network):
    """Teacher of a recipe, with ``weights``, or trained first if ``train`` is given; or several in ``members``."""

    model: str = Field("", description="as student.model")
    members: dict[str, "Teacher"] = Field({}, description="several teachers by name; their probabilities are averaged")
    min_miou: float = Field(
        0.0,
        ge=0,
        le=1,
        description="least mIoU (classification: top-1 accuracy) of the teacher on val, else an error; a teacher "
        "trained with a budget below 1 need not reach it",
    )
    train: Train | None = Field(None, description="train the teacher first; keys left out are taken from the student")
    replay: PositiveInt | None = Field(
        None,
        description="number of crops of each training image that the teacher answers once; the training draws from "
        "these crops and answers, without the teacher; null: the teacher runs in every step",
    )
    replay_type: Literal["int8", "float16"] = Field(
        "int8", description="type of the recorded answers, which have a scale for each map"
    )
    replay_folder: str | None = Field(
        None, description="folder of the recorded answers; null: the folder replay next to the run's folder"
    )

    @model_validator(mode="after")
    def _one_or_several(self) -> "Teacher":
        if bool(self.model) == bool(self.members):
            raise ValueError("a teacher is one model, or several in members")
        settings = (self.options, self.weights, self.weights_key, self.mean, self.std, self.freeze, self.train)
        if self.members and any(settings):
            raise ValueError("options, weights, weights_key, mean, std, freeze and train belong to each of the members")
        if bad := [name for name in self.members if name.startswith(".") or {"/", "\\"} & set(name)]:
            raise ValueError(f"a member's name becomes a folder, got '{bad[0]}'; leave out '/', '\\' and a leading '.'")
        if any(member.members or member.min_miou for member in self.members.values()):
            raise ValueError("a member takes no members and no min_miou; teacher.min_miou is for all members together")
        if any(member.replay for member in self.members.values()):
            raise ValueError("a member takes no replay; teacher.replay is for all members together")
        return self

    @property
    def each(self) -> dict[str, "Teacher"]:
        """All teachers by name; a single one is called ``teacher``."""
        return self.members or {"teacher": self}

    @property
    def is_trained(self) -> bool:
        """False if a teacher is still to be trained."""
        return all(teacher.train is None for teacher in self.each.values())


class TermRecipe(BaseModel):
    """Term of a recipe. Every key other than these seven is a hyperparameter of the loss."""

    model_config = ConfigDict(extra="allow", frozen=True)

    loss: str = Field(description="a name from `segdistill losses`, or package.module:callable")
    on: str | dict[Literal["student", "teacher"], str] | list[str | dict[Literal["student", "teacher"], str]] = Field(
        description="the features to compare: a name from `segdistill taps`, {student: A, teacher: B}, or a list"
    )
    labels: Literal["valid", "teacher_correct"] | None = Field(
        None, description="valid: labeled pixels; teacher_correct: those that the teacher predicts correctly; null: all"
    )
    teacher: str | None = Field(None, description="with several teachers, the name of the one to compare with")
    weight: float | str | dict[Literal["constant", "linear", "exponential", "steps"], dict[str, Any]] = Field(
        1.0,
        description="a number; auto:SHARE, so that the term's gradient is SHARE times the task's; or a schedule as in "
        "{linear: {start: 0, end: 1}}",
    )
    resize: tuple[PositiveInt, PositiveInt] | None = Field(
        None,
        description="height and width to which both networks' maps are resized before the loss; null: the teacher's",
    )

    needs_teacher: bool | None = Field(
        None,
        description="for a loss of your own, false if it declares needs_teacher = False: the term is then part of "
        "every row of a comparison, and of the student alone; null: as on the loss's card, and true for your own",
    )

    def distils(self, name: str) -> bool:
        """Return True if the term, under this name, needs a teacher for its loss or its labels.

        The loss of the term ``task`` never needs a teacher.
        """
        if self.labels == "teacher_correct":
            return True
        own = self.needs_teacher is not False
        return name != "task" and (own if ":" in self.loss else loss_card(self.loss).teacher)

    def of_teacher(self) -> "TermRecipe":
        """Return the term for the training of the teacher: on the teacher's features instead of the student's."""

        def of_teacher(feature: str | dict[Any, str]) -> str:
            return feature if isinstance(feature, str) else feature["teacher"]

        on = [of_teacher(feature) for feature in self.on] if isinstance(self.on, list) else of_teacher(self.on)
        return self.model_copy(update={"on": on, "teacher": None})

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """Keyword arguments of the loss's constructor."""
        return dict(self.model_extra or {})


class Evaluation(_Strict):
    """Protocol by which networks that segment are scored, in validation and at the end."""

    scales: tuple[PositiveFloat, ...] = Field(
        (1.0,), min_length=1, description="factors of the image size; the class probabilities are averaged"
    )
    flip: bool = Field(False, description="also score the mirrored image; the class probabilities are averaged")
    window: tuple[PositiveInt, PositiveInt] | None = Field(
        None, description="height and width of sliding windows; null: whole images"
    )
    stride: tuple[PositiveInt, PositiveInt] | None = Field(
        None, description="steps of the windows down and to the right; null: two thirds of the window"
    )
    short_side: PositiveInt | None = Field(
        None, description="resize images to this short side; null: the size at which they are read"
    )
    resize_labels: bool = Field(
        False, description="also resize the labels to short_side; false: predictions are scored at the labels' size"
    )
    batch_size: PositiveInt | None = Field(
        None,
        description="images of one size that are scored at once; null: 1 on a CPU; on a GPU up to 8, with at most 4 "
        "million pixels",
    )
    absent: Literal["ignore", "zero"] = Field(
        "ignore", description="a class that is neither in the labels nor predicted does not count, or counts as 0"
    )

    @property
    def changed(self) -> tuple[str, ...]:
        """The keys that are not at their default, as in ``("evaluation.flip=true", "evaluation.scales=[0.5,1.0]")``.

        Scores of another protocol are not comparable, so they are published with these keys. The number of images that
        are scored at once changes no score.
        """
        values = self.model_dump(mode="json", exclude_defaults=True, exclude={"batch_size"})
        return tuple(f"evaluation.{key}={_flow(value)}" for key, value in sorted(values.items()))

    @model_validator(mode="after")
    def _resizes(self) -> "Evaluation":
        if self.resize_labels and self.short_side is None:
            raise ValueError("resize_labels needs evaluation.short_side, the size to resize to")
        return self

    @model_validator(mode="after")
    def _covers_the_image(self) -> "Evaluation":
        if self.stride is None:
            return self
        if self.window is None:
            raise ValueError("stride needs evaluation.window, whose steps it gives")
        if any(step > side for step, side in zip(self.stride, self.window, strict=True)):
            raise ValueError(
                f"stride {list(self.stride)} is larger than window {list(self.window)} and leaves gaps between windows"
            )
        return self


def _flow(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


class Recipe(_Strict):
    """Recipe of a complete experiment."""

    name: str = Field("recipe", description="the first part of the run folder's name")
    experiment: str = Field(
        "", description="the built-in recipe that this one is based on; published results are looked up under its name"
    )
    description: str = Field("", description="one line about the recipe")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of initial weights, data order, augmentation and all else")
    data: Data
    student: Network
    teacher: Teacher | None = None
    method: str = Field("gskd", description="a method from `segdistill losses`, 'none', or names joined by '+'")
    methods: dict[str, dict[str, Any]] = Field(
        {}, description="changes to named methods, term by term, and additional methods"
    )
    terms: dict[str, TermRecipe] = Field({}, description="changes to the method's terms, and additional terms")
    train: Train = Train()
    evaluation: Evaluation = Evaluation()
    baseline: bool = Field(True, description="also train the student alone, with the same settings and seed")

    @property
    def distillation(self) -> dict[str, TermRecipe]:
        """The terms that need a teacher, by name; see :meth:`TermRecipe.distils`."""
        return {name: term for name, term in self.terms.items() if term.distils(name)}

    @property
    def term_settings(self) -> dict[str, dict[str, Any]]:
        """The terms as plain mappings, for :func:`segdistill.distillation.build.build_terms`."""
        return {name: term.model_dump() for name, term in self.terms.items()}

    @property
    def distils(self) -> bool:
        """True if a term needs a teacher."""
        return bool(self.distillation)

    @property
    def label(self) -> str:
        """The name of the method in tables, with the terms that were added to it, as in ``kd+mine``."""
        if not self.distils:
            return "none"
        terms = terms_of(self.method, self.methods)
        added = [name for name in self.distillation if name not in terms]
        return "+".join([*([self.method] if terms else []), *added])
