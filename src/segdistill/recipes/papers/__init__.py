"""The three papers' experiments: a recipe for each network pair on each data set; ``method`` picks a table's row.

What the papers report of them is in :mod:`segdistill.recipes.rows`.
"""

from segdistill.recipes.papers.aicsd import EXPERIMENTS as AICSD
from segdistill.recipes.papers.gskd import EXPERIMENTS as GSKD
from segdistill.recipes.papers.i2ckd import EXPERIMENTS as I2CKD

EXPERIMENTS = (*GSKD, *AICSD, *I2CKD)
