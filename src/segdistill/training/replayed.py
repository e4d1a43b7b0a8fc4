"""The teacher of a run replaced by its recorded answers."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console

from segdistill.distillation.distiller import Distiller
from segdistill.errors import UserError
from segdistill.replay.answers import Answers
from segdistill.replay.folder import RecordFolder, Shapes, as_size
from segdistill.replay.key import record_key
from segdistill.runs import lock
from segdistill.system.atomic import unwritable
from segdistill.training.recording import Recorder
from segdistill.training.replay_check import check_answers
from segdistill.training.session import Session

ALREADY = "replay: the answers are recorded in"


def replay_teacher(session: Session, distiller: Distiller, console: Console) -> Answers | None:
    """Record the teacher's answers that are missing, and free the teacher's memory.

    Args:
        session: The opened recipe. Its teacher has weights.
        distiller: The Distiller of the run, which then needs the answers.
        console: The console to print on.

    Returns:
        The answers to the features that the Distiller reads; None if the recipe has no ``teacher.replay``.

    Raises:
        UserError: The disk has no room, the folder is damaged or was recorded with another teacher, or an answer is not
            finite.
        Stopped: At Ctrl-C, SIGTERM or SIGHUP, after the answers so far were written.
    """
    folder = record_folder(session)
    if folder is None:
        return None
    if session.recipe.train.nodes > 1:
        raise UserError("teacher.replay trains on one machine; give train.nodes=1, or teacher.replay=null")
    names = distiller.teacher_features
    assert distiller.teacher is not None
    check_answers(session, distiller.teacher, folder)
    if not _has(session, folder, names):
        with _locked(session, folder.path, console):
            if not _has(session, folder, names):  # another process may have recorded them meanwhile
                _record(session, folder, console)
    console.print(f"teacher: replayed from {folder.path}", soft_wrap=True)
    distiller.release_teacher()
    teacher = session.teacher()
    assert teacher is not None
    teacher.release()
    return folder.answers(names)


def record_folder(session: Session) -> RecordFolder | None:
    """Return the folder of the answers of a session's teacher; None without ``teacher.replay`` or without weights."""
    section, teacher = session.teacher_section, session.teacher()
    if section is None or section.replay is None or teacher is None:
        return None
    given = section.replay_folder
    root = session.runs / "replay" if given is None else Path(given).expanduser()
    images = session.dataset("train")
    return RecordFolder(root, record_key(section, teacher.digest, session.recipe.data, images), len(images))


def size_line(session: Session, distiller: Distiller) -> str | None:
    """Return a line with the size of the record that a run would write; None without ``teacher.replay``.

    Args:
        session: The opened recipe.
        distiller: A Distiller of the recipe with its teacher.
    """
    section, teacher = session.teacher_section, distiller.teacher
    if section is None or section.replay is None or teacher is None:
        return None
    shapes = Recorder(session, teacher, session.asked).shapes
    folder = record_folder(session)
    if folder is None:
        key = {"crops": section.replay, "type": section.replay_type}
        folder = RecordFolder(session.runs, key, len(session.dataset("train")))
        return f"replay: {_described(folder, shapes)}, once the teacher is trained"
    recorded = folder.features()
    missing = {name: shape for name, shape in shapes.items() if name not in recorded}
    if not missing:
        return f"{ALREADY} {folder.path}"
    folder.check_room(folder.bytes(missing))
    return f"replay: {_described(folder, missing)}, to be recorded once in {folder.path}"


def _has(session: Session, folder: RecordFolder, names: tuple[str, ...]) -> bool:
    """Return whether the features are recorded, the same answer in all processes."""
    has: bool = session.fabric.broadcast(set(names) <= folder.features().keys())
    return has


def _described(folder: RecordFolder, shapes: Shapes) -> str:
    features = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())
    images, crops = folder.images, folder.key["crops"]
    return f"{images} images x {crops} crops, {features}, {folder.kind}: {as_size(folder.bytes(shapes))}"


def _record(session: Session, folder: RecordFolder, console: Console) -> None:
    """Record the features that the session's variants read and that the folder does not have."""
    teacher = session.teacher()
    assert teacher is not None
    recorder = Recorder(session, teacher.network, [name for name in session.asked if name not in folder.features()])
    console.print(f"teacher: recording {_described(folder, recorder.shapes)}, in {folder.path}", soft_wrap=True)
    recorder.record(folder, console)


@contextmanager
def _locked(session: Session, folder: Path, console: Console) -> Iterator[None]:
    """Lock the folder. If another run records there, all processes of this run wait until it is done.

    The first process tells the others each second whether it waits: one that heard nothing would give up after
    PyTorch's time limit, which is shorter than a recording.
    """
    with ExitStack() as stack:
        waits = False
        while True:
            busy, failure = "", None
            try:
                stack.enter_context(lock.held(folder))
            except UserError as error:
                busy = str(error).partition(";")[0]
            except OSError as error:
                failure = unwritable(folder, error)
            busy, failure = session.fabric.broadcast((busy, failure))
            if failure is not None:
                raise failure
            if not busy:
                break
            if not waits:
                console.print(f"teacher: {busy}; waiting for its answers", soft_wrap=True)
            waits = True
            time.sleep(1)
        yield
