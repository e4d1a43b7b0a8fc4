"""The losses: tensors in, a scalar out. A function, and under the same words in CamelCase a module.

All are called ``loss(student, teacher, labels=None)``, return an unweighted scalar, pass no gradient to the
teacher, leave out void pixels (label 255) and compute in float32 at least.
"""

from segdistill.losses.at import AT, at
from segdistill.losses.cirkd_memory import CIRKDMemory
from segdistill.losses.cirkd_minibatch import CIRKDMiniBatch, cirkd_minibatch
from segdistill.losses.cross_entropy import CrossEntropy, cross_entropy
from segdistill.losses.cwd import CWD, cwd
from segdistill.losses.dist import DIST, dist
from segdistill.losses.dsd_category import DSDCategory, dsd_category
from segdistill.losses.dsd_pixel import DSDPixel, dsd_pixel
from segdistill.losses.fitnet import FitNet, fitnet
from segdistill.losses.gskd import GSKD, gskd, sub_image_descriptor_kl
from segdistill.losses.i2ckd import I2CKD, i2ckd
from segdistill.losses.icsd import ICSD, icsd
from segdistill.losses.ifvd import IFVD, ifvd
from segdistill.losses.kd import KD, kd
from segdistill.losses.skd_pairwise import SKDPairwise, skd_pairwise

__all__ = [
    "AT",
    "CWD",
    "DIST",
    "GSKD",
    "I2CKD",
    "ICSD",
    "IFVD",
    "KD",
    "CIRKDMemory",
    "CIRKDMiniBatch",
    "CrossEntropy",
    "DSDCategory",
    "DSDPixel",
    "FitNet",
    "SKDPairwise",
    "at",
    "cirkd_minibatch",
    "cross_entropy",
    "cwd",
    "dist",
    "dsd_category",
    "dsd_pixel",
    "fitnet",
    "gskd",
    "i2ckd",
    "icsd",
    "ifvd",
    "kd",
    "skd_pairwise",
    "sub_image_descriptor_kl",
]
