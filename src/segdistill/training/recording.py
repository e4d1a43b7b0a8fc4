"""The pass in which a teacher answers all crops of all training images, once."""

import time
from collections.abc import Iterator, Sequence

import torch
from rich.console import Console
from torch import Tensor, nn

from segdistill.data.stream import batch_loader
from segdistill.distillation.probing import read_features
from segdistill.errors import Stopped, UserError
from segdistill.replay.answers import mark
from segdistill.replay.codes import Bytes
from segdistill.replay.folder import RecordFolder, Recording
from segdistill.system.interrupt import deferred_interrupt
from segdistill.training.console import Narrator
from segdistill.training.interrupt import on_any
from segdistill.training.read_parts import read_parts
from segdistill.training.session import Session

# Seconds between two writes to disk. A recording that is killed repeats the images since the last one.
PAUSE = 5.0


class Recorder:
    """The pass of a teacher over all crops of the training images. Several processes share it.

    Args:
        session: The opened recipe, with ``teacher.replay``.
        teacher: The teacher, on the engine's device.
        names: The features to record.

    Attributes:
        shapes: The shapes of these features for one crop, by name.

    Raises:
        UserError: The teacher does not have a feature.
    """

    def __init__(self, session: Session, teacher: nn.Module, names: Sequence[str]) -> None:
        self.session, self.teacher = session, teacher
        probe = torch.zeros(1, 3, *session.recipe.data.crop)
        teacher.eval()
        self._read = read_features(teacher, "teacher", {"replay": tuple(names)}, probe)
        self.shapes = {name: tuple(self._read.shapes[name][1:]) for name in names}

    def record(self, folder: RecordFolder, console: Console) -> None:
        """Record the crops that remain. Call it in all processes; the first has locked the folder.

        Raises:
            UserError: The disk is full, an image cannot be read, or an answer is not finite.
            Stopped: At Ctrl-C, SIGTERM or SIGHUP, after the answers so far were written.
        """
        session, fabric = self.session, self.session.fabric
        shapes = Recording.prepare(folder, self.shapes) if fabric.global_rank == 0 else self.shapes
        shapes = fabric.broadcast(shapes)
        # A recording that was stopped may have more features.
        recorder = self if shapes == self.shapes else Recorder(session, self.teacher, tuple(shapes))
        recording = Recording(folder, shapes)
        try:
            recorder._fill(recording, Narrator(console, "the teacher's answers"))
            fabric.barrier()
            if fabric.global_rank == 0:
                recording.finish()
            fabric.barrier()
        finally:
            recording.close()

    def _fill(self, recording: Recording, narrator: Narrator) -> None:
        fabric, images = self.session.fabric, recording.folder.images
        left = recording.remaining()
        fabric.barrier()  # all processes have read what remains before one of them marks an image as done
        answered = self._answered(recording, left[fabric.global_rank :: fabric.world_size])
        done = images - len(left)
        if fabric.global_rank == 0:
            narrator.begin(done, images)
        flushed = time.monotonic()
        try:
            with deferred_interrupt() as interrupted:
                for first in range(0, len(left), fabric.world_size):
                    outcome = read_parts(fabric, lambda: [next(answered, None)])
                    if isinstance(outcome, Exception):
                        recording.flush()
                        raise outcome
                    stops = on_any(fabric, interrupted())
                    if time.monotonic() - flushed > PAUSE or stops:
                        recording.flush()
                        flushed = time.monotonic()
                        if fabric.global_rank == 0:
                            narrator.step(min(images, done + first + fabric.world_size), {}, None)
                    if stops:
                        raise Stopped
            recording.flush()
        finally:
            narrator.close()

    def _answered(self, recording: Recording, images: Sequence[int]) -> Iterator[int]:
        """Write the answers to all crops of one image after the other, and yield its index."""
        all_crops = self.session.crops()
        assert all_crops is not None
        loader = batch_loader(all_crops, [[image] for image in images], self.session.recipe.data.loaders)
        for image, (crops, _) in zip(images, loader, strict=True):
            self._write(recording, image, crops[0])
            yield image

    def _write(self, recording: Recording, image: int, crops: Tensor) -> None:
        """Write the answers to the crops of an image, (K, 3, h, w)."""
        size = max(1, self.session.images_per_pass)
        rows: dict[str, list[Bytes]] = {name: [] for name in recording.rows}
        for part in torch.split(crops, size):
            with torch.no_grad():
                features = self._read(part.to(self.session.fabric.device))
            for name, layout in recording.rows.items():
                try:
                    rows[name] += layout.packed(features[name])
                except ValueError as error:
                    image_name = self.session.dataset("train").name(image)
                    raise UserError(
                        f"the teacher's feature '{name}' of image '{image_name}' cannot be recorded: {error}; check "
                        "the teacher's weights, or give teacher.replay=null"
                    ) from None
        recording.write(image, rows, torch.stack([mark(crop) for crop in crops]).numpy())
