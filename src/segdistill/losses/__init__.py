"""The losses: tensors in, a scalar out. A function, and under the same words in CamelCase a module.

All are called ``loss(student, teacher, labels=None)``, return an unweighted scalar, pass no gradient to the
teacher, leave out void pixels (label 255) and compute in float32 at least.
"""

from segdistill.losses.channel_distillation import ChannelDistillation, channel_distillation
from segdistill.losses.cross_entropy import CrossEntropy, cross_entropy
from segdistill.losses.csc import CSC, csc
from segdistill.losses.cwd import CWD, cwd
from segdistill.losses.dist import DIST, dist
from segdistill.losses.fsp import FSP, fsp
from segdistill.losses.gskd import GSKD, gskd, sub_image_descriptor_kl
from segdistill.losses.i2ckd import I2CKD, i2ckd
from segdistill.losses.ickd import ICKD, ickd
from segdistill.losses.icsd import ICSD, icsd
from segdistill.losses.kd import KD, kd
from segdistill.losses.md import MD, md
from segdistill.losses.nst import NST, nst
from segdistill.losses.rkd import RKD, rkd
from segdistill.losses.skd_pairwise import SKDPairwise, skd_pairwise
from segdistill.losses.sp import SP, sp

__all__ = [
    "CSC",
    "CWD",
    "DIST",
    "FSP",
    "GSKD",
    "I2CKD",
    "ICKD",
    "ICSD",
    "KD",
    "MD",
    "NST",
    "RKD",
    "SP",
    "ChannelDistillation",
    "CrossEntropy",
    "SKDPairwise",
    "channel_distillation",
    "cross_entropy",
    "csc",
    "cwd",
    "dist",
    "fsp",
    "gskd",
    "i2ckd",
    "ickd",
    "icsd",
    "kd",
    "md",
    "nst",
    "rkd",
    "skd_pairwise",
    "sp",
    "sub_image_descriptor_kl",
]
