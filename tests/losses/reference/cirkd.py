"""CIRKD: the segmentation versions of KD, SKD, AT, FitNet, IFVD, CWD and CIRKD's term within a batch."""

from collections.abc import Callable

import torch
from torch import Tensor

from tests.losses.reference.case import Case
from tests.losses.reference.inputs import Tensors, features, labels, logits, normal, pair
from tests.losses.reference.release import Release
from tests.losses.reference.repositories import CIRKD


def fitnet(release: Release, x: Tensors) -> Tensors:
    loss = release("losses/fitnet.py").CriterionFitNet(24, 24)
    loss.conv.weight.data = x["projector_weight"][..., None, None]
    value = loss(*pair(x, "features"))
    (gradient,) = torch.autograd.grad(value, loss.conv.weight, retain_graph=True)
    return {"loss": value, "grad_projector_weight": gradient.flatten(1)}


def loss(path: str, name: str, kind: str, *settings: object) -> Callable[[Release, Tensors], Tensor]:
    """Compare two maps with one of its losses."""
    return lambda release, x: getattr(release(path), name)(*settings)(*pair(x, kind))


BATCH = loss("losses/cirkd_mini_batch.py", "CriterionMiniBatchCrossImagePair", "features", 0.1)
CASES = [
    Case(name, CIRKD, inputs, compute, torch.float32)
    for name, inputs, compute in (
        ("kd_case1", logits(), loss("losses/kd.py", "CriterionKD", "logits", 1)),
        ("skd_pairwise_case1", features(), loss("losses/skd.py", "CriterionStructuralKD", "features")),
        ("at_case1", features(), loss("losses/at.py", "CriterionAT", "features")),
        ("fitnet_case1", features(24, 24) | {"projector_weight": lambda _: torch.eye(24)}, fitnet),
        ("cwd_logits_case1", logits(), loss("losses/cwd.py", "CriterionCWD", "logits", 5, 5, "channel", "kl", 4.0)),
        (
            "cwd_features_case1",
            features(24, 24),
            loss("losses/cwd.py", "CriterionCWD", "features", 24, 24, "channel", "kl", 4.0),
        ),
        ("dsd_csd_case1", logits(), loss("losses/dsd.py", "CriterionCSD", "logits")),
        ("cirkd_minibatch_case1", features(), BATCH),
        (
            "ifvd_case1",
            features() | {"labels": labels(2, 64, 96)},
            lambda release, x: release("losses/ifvd.py").CriterionIFV(5)(*pair(x, "features"), x["labels"]),
        ),
        (
            "task_ce_case1",
            {"student_logits": normal(2, 5, 8, 12, scale=2), "labels": labels(2, 64, 96)},
            lambda release, x: release("losses/task.py").SegCrossEntropyLoss(255)(x["student_logits"], x["labels"]),
        ),
    )
]
