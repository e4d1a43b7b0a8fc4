"""RepDistiller: AT, NST, SP, RKD, FSP, KD and CRD."""

from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch import Tensor

from tests.losses.reference.case import Case
from tests.losses.reference.inputs import (
    Draw,
    Tensors,
    features,
    logits,
    normal,
    pair,
    with_weights,
)
from tests.losses.reference.release import Release
from tests.losses.reference.repositories import REP_DISTILLER


def crd(release: Release, x: Tensors) -> Tensors:
    sizes = SimpleNamespace(s_dim=16, t_dim=24, feat_dim=8, n_data=20, nce_k=6, nce_t=0.07, nce_m=0.5)
    loss = with_weights(release("crd/criterion.py").CRDLoss(sizes), x)
    value = loss(*pair(x, "features"), x["idx"], x["contrast_idx"])
    after = {f"after_{name.replace('.', '__')}": buffer for name, buffer in loss.named_buffers()}
    return {"loss": value.squeeze(), **after}


def fsp(release: Release, x: Tensors) -> Tensor:
    students, teachers = ([x[f"{side}_features_{number}"] for number in (1, 2)] for side in ("student", "teacher"))
    return release("distiller_zoo/FSP.py").FSP([], [])(students, teachers)[0]


def loss(file: str, name: str, method: str) -> Callable[[Release, Tensors], Tensor]:
    return lambda r, x: getattr(getattr(r(f"distiller_zoo/{file}.py"), name)(), method)(*pair(x, "features"))


LAYERS = {
    f"{side}_features_{number}": normal(2, width, 8, 12)
    for side in ("student", "teacher")
    for number, width in ((1, 16), (2, 24))
}


def images(number: int) -> dict[str, Draw]:
    return {"student_features": normal(number, 16), "teacher_features": normal(number, 24)}


OWN = torch.tensor([5, 0, 9, 14])
MEMORY = {
    "idx": lambda _: OWN,
    "contrast_idx": lambda g: torch.cat([OWN[:, None], torch.randint(20, (4, 6), generator=g)], dim=1),
}
CASES = [
    Case(name, REP_DISTILLER, inputs, compute)
    for name, inputs, compute in (
        ("at_mean_case0", features(), loss("AT", "Attention", "at_loss")),
        ("nst_case0", features(), loss("NST", "NSTLoss", "nst_loss")),
        ("sp_case0", features(), loss("SP", "Similarity", "similarity_loss")),
        ("rkd_case0", images(6), loss("RKD", "RKDLoss", "forward")),
        ("fsp_case0", LAYERS, fsp),
        ("hinton_kd_T4_case0", logits(8, 5), lambda r, x: r("distiller_zoo/KD.py").DistillKL(4)(*pair(x, "logits"))),
        ("crd_case0", images(4) | MEMORY, crd),
    )
]
