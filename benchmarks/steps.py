"""Training steps on tensors in memory: the bound, written in plain PyTorch, and ours.

The bound is what nobody can leave out: the teacher's forward pass, the student's forward and backward pass with
cross-entropy, and the optimizer. The student has the memory format that is faster here.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from statistics import median

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from benchmarks.timing import in_turns
from segdistill import Distiller
from segdistill.models.papers import deeplabv3
from segdistill.outputs import SegOutput
from segdistill.recipes.schema import Train
from segdistill.speed.form import Form, keep_channels_last
from segdistill.training.loop import Progress, Training
from segdistill.training.optimizer import build_optimizers

VOID = 255
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
PRECISIONS = {"fp32": None, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Size:
    """The size of a step: DeepLabV3 on ResNet-18 and on ResNet-101, and a batch of random images."""

    batch: int
    height: int
    width: int
    classes: int = 19
    channels: int = 128
    """Channels of the student's head; the teacher's has twice as many."""

    def __str__(self) -> str:
        return f"{self.batch} x {self.height}x{self.width}, {self.classes} classes, {self.channels} channels"


def build_student(size: Size, device: str) -> nn.Module:
    torch.manual_seed(0)
    return deeplabv3(size.classes, encoder="resnet18s", channels=size.channels).to(device).train()


def build_teacher(size: Size, device: str) -> nn.Module:
    torch.manual_seed(1)
    teacher = deeplabv3(size.classes, encoder="resnet101", channels=2 * size.channels)
    return teacher.to(device).eval().requires_grad_(False)


def random_images(size: Size, device: str) -> Tensor:
    """Return the same images in every call."""
    torch.manual_seed(2)
    return torch.randn(size.batch, 3, size.height, size.width, device=device)


def scene_labels(size: Size, device: str) -> Tensor:
    """Return labels in blocks of 16 pixels, one of ``classes + 1`` void on average; the same in every call."""
    torch.manual_seed(3)
    blocks = torch.randint(size.classes + 1, (size.batch, 1, size.height // 16, size.width // 16), device=device)
    blocks[blocks == size.classes] = VOID
    return F.interpolate(blocks.float(), (size.height, size.width), mode="nearest")[:, 0].long()


def autocast(device: str, precision: str) -> AbstractContextManager[object]:
    dtype = PRECISIONS[precision]
    return nullcontext() if dtype is None else torch.autocast(torch.device(device).type, dtype=dtype)


def sgd(parameters: Iterator[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=1e-3, momentum=0.9, weight_decay=1e-4)


def bound(
    size: Size, device: str, *, teacher: nn.Module | None, precision: str = "fp32", memory_format: str = "contiguous"
) -> Callable[[], None]:
    """Return the bound as a function that takes one step; without a teacher, the student's own step."""
    student = build_student(size, device).to(memory_format=FORMATS[memory_format])
    optimizer = sgd(student.parameters())
    images, labels = random_images(size, device), scene_labels(size, device)
    formatted = images.contiguous(memory_format=FORMATS[memory_format])

    def step() -> None:
        with autocast(device, precision):
            if teacher is not None:
                with torch.no_grad():
                    teacher(images)
            total = plain_task(student(formatted), labels)
        total.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def plain_task(output: SegOutput, labels: Tensor) -> Tensor:
    """Return cross-entropy at the labels' size, plus 0.4 of that of the auxiliary head, as in CIRKD's code."""
    total = torch.zeros((), device=labels.device)
    for logits, weight in ((output.logits, 1.0), (output.aux, 0.4)):
        if logits is not None:
            upsampled = F.interpolate(logits, labels.shape[1:], mode="bilinear", align_corners=True)
            total = total + weight * F.cross_entropy(upsampled, labels, ignore_index=VOID)
    return total


def fastest_format(size: Size, device: str, precision: str, rounds: int) -> tuple[str, float]:
    """Return the student's faster memory format, and how many times faster it is than the other."""
    sides = {name: bound(size, device, teacher=None, precision=precision, memory_format=name) for name in FORMATS}
    times = {name: median(values) for name, values in in_turns(sides, rounds, device).items()}
    best = min(times, key=lambda name: times[name])
    return best, max(times.values()) / times[best]


def distiller_step(
    size: Size,
    device: str,
    method: str,
    *,
    teacher: nn.Module,
    precision: str = "fp32",
    form: Form = Form(),  # noqa: B008, it is frozen
    memory_format: str = "contiguous",
) -> Callable[[], None]:
    """Return a step of the Distiller, in the loop of README, with both networks in the form that a run would choose."""
    distiller = Distiller(build_student(size, device), teacher, method).train()
    if form != Form():
        distiller.replace_teacher(form.of(teacher, random_images(size, device)[:1]))
    if memory_format == "channels_last":
        keep_channels_last(distiller.student)
    optimizer = sgd(distiller.parameters())
    images, labels = random_images(size, device), scene_labels(size, device)

    def step() -> None:
        with autocast(device, precision):
            out = distiller(images, labels)
        out.total.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def loop_step(size: Size, device: str, method: str, *, teacher: nn.Module) -> Callable[[], None]:
    """Return a step of the training loop: the Distiller, Lightning Fabric, seeds, schedules and checks."""
    train = Train(iterations=10_000, batch_size=size.batch, learning_rate=1e-3)
    distiller = Distiller(build_student(size, device), teacher, method)
    fabric = Fabric(accelerator=torch.device(device).type, devices=1)
    module, *optimizers = fabric.setup(distiller, *build_optimizers(distiller, train))
    training = Training(
        fabric=fabric, distiller=distiller, stream=None, train=train, seed=0, folder=None,
        validate=None, save_student=None, narrator=None,
    )  # type: ignore[arg-type]  # fmt: skip
    distiller.train()
    batch, progress = (random_images(size, device), scene_labels(size, device)), Progress(step=1)
    return lambda: training.take_step(module, optimizers, iter([batch]), progress) and None
