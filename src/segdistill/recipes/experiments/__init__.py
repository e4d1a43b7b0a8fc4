"""Experiments of the three papers: one recipe for each network pair and data set; ``method`` selects a table's row.

The reported results are in :mod:`segdistill.recipes.published`.
"""

from segdistill.recipes.experiments.aicsd import EXPERIMENTS as AICSD
from segdistill.recipes.experiments.gskd import EXPERIMENTS as GSKD
from segdistill.recipes.experiments.i2ckd import EXPERIMENTS as I2CKD

EXPERIMENTS = (*GSKD, *AICSD, *I2CKD)
