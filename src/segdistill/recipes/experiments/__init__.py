"""The three papers' experiments: a recipe for each network pair on each data set; ``method`` picks a table's row.

What the papers report of them is in :mod:`segdistill.recipes.published`.
"""

from segdistill.recipes.experiments.aicsd import EXPERIMENTS as AICSD
from segdistill.recipes.experiments.gskd import EXPERIMENTS as GSKD
from segdistill.recipes.experiments.i2ckd import EXPERIMENTS as I2CKD

EXPERIMENTS = (*GSKD, *AICSD, *I2CKD)
