"""The schema of a recipe: what to train, on what, how long. One schema serves Python, YAML and the command line."""

from fractions import Fraction
from math import ceil
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from segdistill.catalogue.cards import loss_card
from segdistill.catalogue.methods import terms_of

_SCALED = ("iterations", "warmup", "validate_every")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Data(_Strict):
    """A data set and how its images are read."""

    name: str = Field(
        "scenes",
        description="cityscapes, camvid, voc, ade20k, imagenet (classification), folder, hf (Hugging Face); scenes and "
        "shapes are generated",
    )
    root: str | None = Field(None, description="the data set's folder")
    split: float | None = Field(
        None, gt=0, lt=1, description="of a flat folder, without train/ and val/: the share of its pairs to train on"
    )
    crop: tuple[PositiveInt, PositiveInt] = Field((360, 360), description="height and width of a training crop")
    scales: tuple[PositiveFloat, PositiveFloat] = Field(
        (0.5, 2.0), description="smallest and largest random scale, in steps of 0.1"
    )
    scale: PositiveFloat = Field(1.0, description="read images at this fraction of their size")
    cache: bool = Field(False, description="keep decoded images in memory")
    workers: int = Field(0, ge=0, description="processes that read ahead; 0 reads in the training process")
    allow_empty_classes: bool = Field(False, description="train although a class has no pixel in the training labels")
    size: tuple[PositiveInt, PositiveInt] = Field((96, 160), description="scenes, shapes: height and width of an image")
    images: tuple[PositiveInt, PositiveInt, PositiveInt] = Field(
        (400, 60, 200), description="scenes, shapes: how many to generate for train, val and test"
    )

    @model_validator(mode="after")
    def _ordered(self) -> "Data":
        if self.scales[0] > self.scales[1]:
            raise ValueError(f"scales are [smallest, largest], got {list(self.scales)}")
        return self


class Network(_Strict):
    """A network by name: a paper's, ``architecture/encoder`` of smp, or ``package.module:callable``."""

    model: str = Field(description="a paper's network, architecture/encoder, or package.module:callable")
    options: dict[str, Any] = Field({}, description="keyword arguments of the network's constructor")
    weights: str | None = Field(None, description="local .safetensors or .pth file, or a run's folder")
    weights_key: str | None = Field(None, description="which of several networks in the file: an entry, or a prefix")
    mean: tuple[float, float, float] | None = Field(
        None,
        description="what the network expects images to be normalized with; null: its encoder's own, or ImageNet's",
    )
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = Field(None, description="see mean")


class Train(_Strict):
    """How a network is trained. Defaults: the protocol of the CIRKD code base."""

    budget: PositiveFloat = Field(
        1.0,
        allow_inf_nan=False,
        description="share of the run: 0.1 loads with a tenth of iterations, warmup and validate_every, and budget 1",
    )
    iterations: PositiveInt = Field(40_000, description="optimizer steps")
    epochs: PositiveFloat | None = Field(
        None,
        allow_inf_nan=False,
        description="passes over the training images, instead of iterations; loads as so many iterations, and null",
    )
    batch_size: PositiveInt = Field(16, description="images an optimizer step, over all devices and accumulation")
    accumulate: PositiveInt = Field(1, description="forward and backward passes an optimizer step")
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="of the student and the losses' adapters")
    learning_rate: PositiveFloat = Field(0.02, description="at its highest, after the warm-up")
    momentum: float = Field(0.9, ge=0, lt=1, description="sgd: share of the last step that the next one keeps")
    weight_decay: float = Field(1e-4, ge=0, description="of every parameter")
    schedule: Literal["poly", "cosine", "step"] = Field("poly", description="how the learning rate falls over the run")
    power: float = Field(0.9, ge=0, description="poly: (1 - step / iterations) ** power")
    decay: float = Field(0.1, gt=0, le=1, description="step: factor at each point of decay_at")
    decay_at: tuple[float, ...] = Field((0.3, 0.6, 0.9), description="step: where, as fractions of the run")
    floor: float = Field(0.0, ge=0, description="the learning rate falls to this, not to 0")
    warmup: int = Field(0, ge=0, description="steps over which the learning rate grows from 0")
    clip: PositiveFloat | None = Field(None, description="largest gradient norm")
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        "32-true",
        description="float32 throughout, or bfloat16 or float16 where that is safe; losses stay in float32; 16-mixed "
        "skips steps, often a dozen at first, until its loss scale fits the student's gradients",
    )
    accelerator: str = Field("auto", description="cpu, cuda, mps, ..., or the best there is")
    devices: int | Literal["auto"] = Field(1, description="processes on this machine, one a GPU")
    nodes: PositiveInt = Field(1, description="machines")
    validate_every: PositiveInt | None = Field(None, description="steps; a tenth of the run by default")
    save_every: PositiveInt | None = Field(
        None, description="steps between checkpoints; by default as often as it validates"
    )
    log_every: PositiveInt = Field(10, description="steps between two lines of metrics.jsonl")
    tensorboard: bool = Field(False, description="also write TensorBoard events (needs the extra)")

    @model_validator(mode="after")
    def _fits_together(self) -> "Train":
        if self.epochs is not None and "iterations" in self.model_fields_set:
            raise ValueError("epochs and iterations both say how long it is; give one of them")
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} is not a multiple of accumulate {self.accumulate}")
        if self.floor > self.learning_rate:
            raise ValueError(f"floor {self.floor} is above learning_rate {self.learning_rate}")
        if not all(0 < point < 1 for point in self.decay_at):
            raise ValueError(f"decay_at holds fractions of the run, in (0, 1), got {list(self.decay_at)}")
        return self

    def in_steps(self, images: int) -> "Train":
        """Return the training with epochs and budget put into its numbers of steps, rounded up.

        Args:
            images: How many training images an epoch has.
        """
        # Fractions, because 0.07 of 300 is 21, and the product of the floats a little more, which rounds up to 22.
        steps = {name: getattr(self, name) for name in _SCALED}
        if self.epochs is not None:
            steps["iterations"] = ceil(Fraction(str(self.epochs)) * images / self.batch_size)
        share = Fraction(str(self.budget))
        scaled = {name: ceil(count * share) for name, count in steps.items() if count is not None}
        return self.model_copy(update={**scaled, "epochs": None, "budget": 1.0})


class Teacher(Network):
    """The teacher: from ``weights``, or trained first where ``train`` is given; or several, by name, in ``members``."""

    model: str = Field("", description="as student.model")
    members: dict[str, "Teacher"] = Field({}, description="several teachers, whose class probabilities are averaged")
    min_miou: float = Field(
        0.0,
        ge=0,
        le=1,
        description="a teacher below this on val is an error; top-1 for classification; a budget lifts it",
    )
    train: Train | None = Field(None, description="train it first; keys that are left out are the student's")

    @model_validator(mode="after")
    def _one_or_several(self) -> "Teacher":
        if bool(self.model) == bool(self.members):
            raise ValueError("a teacher is one model, or several in members")
        own = (self.options, self.weights, self.weights_key, self.mean, self.std, self.train)
        if self.members and any(own):
            raise ValueError("options, weights, weights_key, mean, std and train belong to each of the members")
        if bad := [name for name in self.members if name.startswith(".") or {"/", "\\"} & set(name)]:
            raise ValueError(f"a member's name is that of a folder, got '{bad[0]}'; leave out '/' and a leading '.'")
        if any(member.members or member.min_miou for member in self.members.values()):
            raise ValueError("min_miou is that of the teachers together, and a member has no members")
        return self

    @property
    def each(self) -> dict[str, "Teacher"]:
        """All teachers by name; a single one is called ``teacher``."""
        return self.members or {"teacher": self}

    @property
    def is_trained(self) -> bool:
        """False where one has yet to be trained."""
        return all(teacher.train is None for teacher in self.each.values())


class TermRecipe(BaseModel):
    """One term. Every key beside these five is a hyper-parameter of the loss."""

    model_config = ConfigDict(extra="allow", frozen=True)

    loss: str = Field(description="a name that `segdistill losses` lists, or package.module:callable")
    on: str | dict[Literal["student", "teacher"], str] | list[str | dict[Literal["student", "teacher"], str]] = Field(
        description="the feature it compares: a name that `segdistill taps` lists, {student: A, teacher: B}, or a list"
    )
    labels: Literal["valid", "teacher_correct"] | None = Field(
        None, description="pixels with a label, or of these the ones that the teacher gets right; null: every pixel"
    )
    teacher: str | None = Field(None, description="the name of one of several teachers")
    weight: float | str | dict[Literal["constant", "linear", "exponential", "steps"], dict[str, Any]] = Field(
        1.0, description="a number, auto:SHARE of the task's gradient, or a schedule: {linear: {start: 0, end: 1}}"
    )

    def needs_teacher(self, name: str) -> bool:
        """Whether it compares with a teacher, as the term of this name; only the task is the student's own by name."""
        if self.labels == "teacher_correct":
            return True
        return name != "task" and (":" in self.loss or loss_card(self.loss).teacher)

    def of_teacher(self) -> "TermRecipe":
        """Return the term as one of the teacher's own training: on its features instead of the student's."""

        def theirs(feature: str | dict[Any, str]) -> str:
            return feature if isinstance(feature, str) else feature["teacher"]

        on = [theirs(feature) for feature in self.on] if isinstance(self.on, list) else theirs(self.on)
        return self.model_copy(update={"on": on, "teacher": None})

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The keys that go to the loss's constructor."""
        return dict(self.model_extra or {})


class Recipe(_Strict):
    """A complete experiment."""

    name: str = Field("recipe", description="begins the name of the run's folder")
    experiment: str = Field("", description="the built-in recipe that this one stands on; its published numbers are")
    description: str = Field("", description="one line about it")
    seed: int = Field(0, ge=0, lt=2**32, description="of first weights, order, augmentation and all that is random")
    data: Data
    student: Network
    teacher: Teacher | None = None
    method: str = Field("gskd", description="a name of `segdistill losses`, 'none', or names joined by '+'")
    methods: dict[str, dict[str, Any]] = Field(
        {}, description="what this recipe changes of the named methods, term by term, and methods of its own"
    )
    terms: dict[str, TermRecipe] = Field({}, description="the method's terms; change or add any")
    train: Train = Train()
    baseline: bool = Field(True, description="also train the student alone, at the same budget and seed")

    @property
    def distillation(self) -> dict[str, TermRecipe]:
        """The terms that need a teacher: neither the task, whatever its loss, nor another cross-entropy with labels."""
        return {name: term for name, term in self.terms.items() if term.needs_teacher(name)}

    @property
    def term_settings(self) -> dict[str, dict[str, Any]]:
        """The terms as plain mappings, as :func:`segdistill.distillation.build.build_terms` takes them."""
        return {name: term.model_dump() for name, term in self.terms.items()}

    @property
    def distils(self) -> bool:
        """False where no term is left that needs a teacher."""
        return bool(self.distillation)

    @property
    def label(self) -> str:
        """What to call this method in a table: its name, and the terms that were added to it, as in ``kd+mine``."""
        if not self.distils:
            return "none"
        own = terms_of(self.method, self.methods)
        added = [name for name in self.distillation if name not in own]
        return "+".join([*([self.method] if own else []), *added])
