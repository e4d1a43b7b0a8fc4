"""Check that the teacher of a run gave the recorded answers."""

import torch
from torch import nn

from segdistill.distillation.probing import read_features
from segdistill.errors import UserError
from segdistill.replay.codes import decode, encode
from segdistill.replay.folder import RecordFolder
from segdistill.training.session import Session

# The same teacher gives codes that differ in few places by one step, on another device too.
TOLERANCE = 0.02


def check_answers(session: Session, teacher: nn.Module, folder: RecordFolder) -> None:
    """Compare the recorded answers to one crop with the answers that the teacher gives now.

    The key of a record covers weights and the module of a teacher, but not the code and the libraries that it uses.

    Args:
        session: The opened recipe, with ``teacher.replay``.
        teacher: The teacher, on the engine's device.
        folder: The folder of the record, which may be empty.

    Raises:
        UserError: An answer differs.
    """
    names, crops = tuple(folder.features()), session.crops()
    if not names or crops is None:
        return
    answers, (crop, _) = folder.answers(names), crops.crop(0, 0)
    answers.check_crop(0, crop, session.dataset("train").name(0))
    recorded = answers.decoded([each[None] for each in answers.read(0)])
    read = read_features(teacher, "teacher", {"replay": names}, torch.zeros(1, 3, *session.recipe.data.crop))
    with torch.no_grad():
        now = read(crop[None].to(session.fabric.device))
    for name, expected in recorded.items():
        found = decode(*encode(now[name], folder.kind)).to(expected.device)
        if found.shape != expected.shape or (found - expected).norm() > TOLERANCE * expected.norm():
            raise UserError(
                f"the recorded feature '{name}' in {folder.path} is not what the teacher gives now: its code or a "
                "library has changed; delete the folder, and run the same command again"
            )
