"""Losses behind layers on the student's features: OFD, SRRL, ReviewKD, channel distillation and QSD."""

from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.losses.reference.case import Case
from tests.losses.reference.inputs import Tensors, constant, features, labels, logits, normal, pair, with_weights
from tests.losses.reference.release import Release
from tests.losses.reference.repositories import CHANNEL, GKD, OFD, REVIEW_KD, SRRL


def set_weights(connector: nn.Sequential, x: Tensors) -> None:
    connector[0].weight.data = x["w_conv"]
    connector[1].weight.data, connector[1].bias.data = x["w_bn_weight"], x["w_bn_bias"]


def ofd(release: Release, x: Tensors) -> Tensors:
    module = release("Segmentation/distiller.py")
    margin = module.get_margin_from_BN(SimpleNamespace(weight=x["bn_weight"], bias=x["bn_bias"]))
    connector = module.build_feature_connector(24, 16)
    set_weights(connector, x)
    student, teacher = pair(x, "features")
    return {"loss": module.distillation_loss(connector(student), teacher, margin[:, None, None]), "margin": margin}


def srrl(release: Release, x: Tensors) -> Tensors:
    module = release("distiller_zoo/AIN.py")
    connector = module.transfer_conv(16, 24).Connectors
    set_weights(connector, x)
    student, teacher = connector(x["student_features"]), x["teacher_features"]
    scores = [functional.linear(f.mean((2, 3)), x["fc_weight"], x["fc_bias"]) for f in (student, teacher)]
    parts = {"loss_fm": module.statm_loss()(student, teacher), "loss_sr": functional.mse_loss(*scores)}
    return {"loss": sum(parts.values()), **parts}


def reviewkd(release: Release, x: Tensors) -> Tensor:
    module = release("Detection/model/kd_trans.py")
    fused = with_weights(module.ReviewKD([16, 24], [16, 24], 12), x)
    students, teachers = ([x[f"{side}_features_{k}"] for k in (1, 2)] for side in ("student", "teacher"))
    return module.hcl(fused(students), teachers)


def qsd(release: Release, x: Tensors) -> Tensor:
    module = release("general_distillation/distillation_models_deit.py")
    retrieved = with_weights(module.QSD(16, 24), x)
    student, teacher = (maps.flatten(2).mT for maps in pair(x, "features"))
    return functional.mse_loss(retrieved(student, teacher), teacher)


def guided(release: Release, x: Tensors) -> Tensor:
    return release("losses/kd_loss.py").KDLossv2(x["T"].item())(*pair(x, "logits"), x["labels"])


def of_lists(path: str, name: str) -> Callable[[Release, Tensors], Tensor]:
    """Compare lists of one map."""

    def compute(release: Release, x: Tensors) -> Tensor:
        loss = getattr(release(path), name)
        lists = ([maps] for maps in pair(x, "features"))
        return (loss() if isinstance(loss, type) else loss)(*lists)

    return compute


CONNECTOR = {"w_conv": normal(24, 16, 1, 1, scale=0.3), "w_bn_weight": normal(24), "w_bn_bias": normal(24)}
# The first channel is hardly ever negative.
BATCH_NORM = {
    "bn_weight": normal(24),
    "bn_bias": lambda generator: torch.cat([torch.tensor([20.0]).double(), normal(23)(generator)]),
}
CLASSIFIER = {"fc_weight": normal(5, 24, scale=0.2), "fc_bias": normal(5)}
LAYERS = {
    f"{side}_features_{number}": normal(2, *shape)
    for side in ("student", "teacher")
    for number, shape in ((1, (16, 8, 12)), (2, (24, 4, 6)))
}
GUIDED = logits(12, 5) | {"labels": labels(12, void=0), "T": constant(1.0)}
CASES = [
    Case("ofd_case0", OFD, features() | BATCH_NORM | CONNECTOR, ofd),
    Case("srrl_case0", SRRL, features() | CONNECTOR | CLASSIFIER, srrl),
    Case("reviewkd_hcl_case0", REVIEW_KD, features(16, 16), of_lists("Detection/model/kd_trans.py", "hcl")),
    Case("reviewkd_abf_hcl_case0", REVIEW_KD, LAYERS, reviewkd),
    Case("qsd_case0", GKD, features(), qsd),
    Case("channel_distillation_cd_case0", CHANNEL, features(16, 16), of_lists("losses/cd_loss.py", "CDLoss")),
    Case("channel_distillation_gkd_case0", CHANNEL, GUIDED, guided),
]
