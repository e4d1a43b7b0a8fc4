"""Relations between channels, classes or pixels: ICKD, CSKD, DIST, GSKD and torchdistill's knowledge adaptation."""

from collections.abc import Callable
from types import SimpleNamespace
from unittest import mock

import torch
from torch import Tensor

from tests.losses.reference.case import Case
from tests.losses.reference.inputs import Tensors, constant, features, logits, pair, unit, with_weights
from tests.losses.reference.release import Release
from tests.losses.reference.repositories import CSKD, DIST, GSKD, ICKD, SOTA, TORCHDISTILL


def embedded(release: Release, x: Tensors) -> Tensor:
    module = release("Cifar100/distiller_zoo/ICKD.py")
    loss = module.ICKDLoss(SimpleNamespace(s_dim=16, feat_dim=24))
    with_weights(loss.embed_s, x, "w_embed_s_")
    return loss.batch_loss(*pair(x, "features"))


def gskd(release: Release, x: Tensors) -> Tensors:
    loss = release("code/CIRKD/losses/gskd_loss_B.py").GSKDB(4, 255, 1.0, 4, -1, 24, 24)
    with (
        mock.patch.object(torch, "rand"),
        mock.patch.object(torch, "argsort", return_value=x["shuffle_map"]),
        mock.patch.object(torch.cuda, "LongTensor", lambda order: order),
    ):
        value = loss.image_sub_desc(x["student_samples"], x["teacher_samples"], 1.0)
    # batchmean divides the divergence of each group by the 16 x 4 entries of its descriptor; the paper does not.
    return {"loss": value, "paper_value": 64 * value}


def adaptation(release: Release, x: Tensors) -> Tensor:
    loss = release("torchdistill/losses/mid_level.py").KTALoss(int(x["p"]), int(x["q"]))
    student, teacher = pair(x, "features")
    return loss({"feature_adapter": {"output": student}}, {"paraphraser": {"output": teacher}})


def affinity(release: Release, x: Tensors) -> Tensor:
    loss = release("torchdistill/losses/mid_level.py").AffinityLoss("student", "teacher")
    student, teacher = pair(x, "features")
    return loss({"student": {"output": student}}, {"teacher": {"output": teacher}})


def loss(
    path: str, name: str, kind: str, *settings: object, method: str = "forward"
) -> Callable[[Release, Tensors], Tensor]:
    """Compare two maps with one of its losses."""
    return lambda release, x: getattr(getattr(release(path), name)(*settings), method)(*pair(x, kind))


IMAGENET = loss("ImageNet/torchdistill/losses/single.py", "ChSimLoss", "features", {}, method="batch_loss")
SAMPLES = {
    "student_samples": unit(4, 4, 24),
    "teacher_samples": unit(4, 4, 24),
    "shuffle_map": lambda g: torch.rand(16, 16, generator=g).argsort(dim=1),
}
DIST_IN_GSKD = loss("code/DIST_KD/segmentation/losses/dist_kd.py", "DIST", "logits")
CWD = loss("losses/cwd.py", "CriterionCWD", "logits", 5, 5, "channel", "kl", 2.0)
NORMS = {"p": constant(1), "q": constant(2)}
CASES = [
    Case("ickd_cifar_case0", ICKD, features(), embedded),
    Case("ickd_imagenet_noembed_case0", ICKD, features(16, 16), IMAGENET),
    Case("i2ckd_lsm_cwd_logits_T2_case0", CSKD, logits(), CWD),
    Case("dist_seg_case0", DIST, logits(), loss("segmentation/losses/dist_kd.py", "DIST", "logits")),
    Case("dist_cls_case0", SOTA, logits(8, 5), loss("lib/models/losses/dist_kd.py", "DIST", "logits")),
    Case("dist_gskdrepo_case1", GSKD, logits(), DIST_IN_GSKD, torch.float32),
    Case("gskd_sid_case1", GSKD, SAMPLES, gskd, torch.float32),
    Case("ka_adapt_torchdistill_case0", TORCHDISTILL, features(16, 16) | NORMS, adaptation),
    Case("ka_affinity_torchdistill_case0", TORCHDISTILL, features(16, 16), affinity),
]
