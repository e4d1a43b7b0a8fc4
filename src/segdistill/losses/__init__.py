"""Distillation losses: tensors in, a scalar out.

Each loss is a function and, with the same name in CamelCase, a module. A loss with parameters or a memory is a module
only. All are called ``loss(student, teacher, labels=None)``. They return an unweighted scalar, pass no gradient to the
teacher, ignore void pixels (label 255) and compute in at least float32. Labels have shape (N, H, W), at any resolution.
Labels of image classification have shape (N,) and apply to every position of their image.
"""

from segdistill.losses.af_dcd import AfDCD
from segdistill.losses.at import AT, at
from segdistill.losses.attnfd import AttnFD
from segdistill.losses.channel_distillation import ChannelDistillation, channel_distillation
from segdistill.losses.cirkd_memory import CIRKDMemory
from segdistill.losses.cirkd_minibatch import CIRKDMiniBatch, cirkd_minibatch
from segdistill.losses.crd import CRD
from segdistill.losses.cross_entropy import CrossEntropy, cross_entropy
from segdistill.losses.csc import CSC, csc
from segdistill.losses.cwd import CWD, cwd
from segdistill.losses.diffkd import DiffKD
from segdistill.losses.dist import DIST, dist
from segdistill.losses.dkd import DKD, dkd
from segdistill.losses.dsd_category import DSDCategory, dsd_category
from segdistill.losses.dsd_pixel import DSDPixel, dsd_pixel
from segdistill.losses.fitnet import FitNet, fitnet
from segdistill.losses.freekd import FreeKD
from segdistill.losses.fsp import FSP, fsp
from segdistill.losses.gskd import GSKD, gskd, sub_image_descriptor_kl
from segdistill.losses.i2ckd import I2CKD, i2ckd
from segdistill.losses.ickd import ICKD, ickd
from segdistill.losses.icsd import ICSD, icsd
from segdistill.losses.ifvd import IFVD, ifvd
from segdistill.losses.kd import KD, kd
from segdistill.losses.knowledge_adaptation import KnowledgeAdaptation
from segdistill.losses.loss import Loss
from segdistill.losses.maskd import MasKD
from segdistill.losses.md import MD, md
from segdistill.losses.mgd import MGD
from segdistill.losses.nst import NST, nst
from segdistill.losses.ofd import OFD
from segdistill.losses.qsd import QSD
from segdistill.losses.reviewkd import ReviewKD
from segdistill.losses.rkd import RKD, rkd
from segdistill.losses.self_taught import SelfTaught
from segdistill.losses.skd_holistic import SKDHolistic
from segdistill.losses.skd_pairwise import SKDPairwise, skd_pairwise
from segdistill.losses.sp import SP, sp
from segdistill.losses.srrl import SRRL

__all__ = [
    "AT",
    "CRD",
    "CSC",
    "CWD",
    "DIST",
    "DKD",
    "FSP",
    "GSKD",
    "I2CKD",
    "ICKD",
    "ICSD",
    "IFVD",
    "KD",
    "MD",
    "MGD",
    "NST",
    "OFD",
    "QSD",
    "RKD",
    "SP",
    "SRRL",
    "AfDCD",
    "AttnFD",
    "CIRKDMemory",
    "CIRKDMiniBatch",
    "ChannelDistillation",
    "CrossEntropy",
    "DSDCategory",
    "DSDPixel",
    "DiffKD",
    "FitNet",
    "FreeKD",
    "KnowledgeAdaptation",
    "Loss",
    "MasKD",
    "ReviewKD",
    "SKDHolistic",
    "SKDPairwise",
    "SelfTaught",
    "at",
    "channel_distillation",
    "cirkd_minibatch",
    "cross_entropy",
    "csc",
    "cwd",
    "dist",
    "dkd",
    "dsd_category",
    "dsd_pixel",
    "fitnet",
    "fsp",
    "gskd",
    "i2ckd",
    "ickd",
    "icsd",
    "ifvd",
    "kd",
    "md",
    "nst",
    "rkd",
    "skd_pairwise",
    "sp",
    "sub_image_descriptor_kl",
]
