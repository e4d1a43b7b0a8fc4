"""AICSD: its four terms; for five classes, 5 replaces the 21 in its code."""

from collections.abc import Callable
from types import SimpleNamespace

from torch import Tensor, nn

from tests.losses.reference.case import Case
from tests.losses.reference.inputs import Tensors, features, logits
from tests.losses.reference.release import Release
from tests.losses.reference.repositories import AICSD


def term(chosen: int, kind: str, classes: int) -> Callable[[Release, Tensors], Tensor]:
    """Run its forward pass with one of its terms; 1 to 4 are pair-wise, pixel-wise, ICKD and ICSD."""

    def compute(release: Release, x: Tensors) -> Tensor:
        module = release("distiller.py", replace=("21", str(classes)))
        loss = module.Distiller.__new__(module.Distiller)
        nn.Module.__init__(loss)
        loss.temperature, loss.scale, loss.criterion = 1, 0.5, module.sim_dis_compute
        names = ("pa_lambda", "pi_lambda", "ic_lambda", "lo_lambda")
        loss.args = SimpleNamespace(**{name: 1 if number == chosen else None for number, name in enumerate(names, 1)})
        for net, side in (("s_net", "student"), ("t_net", "teacher")):
            output = x[f"{side}_{kind}"]
            setattr(loss, net, SimpleNamespace(extract_feature=lambda _, output=output: ([output] * 6, output)))
        return loss(None)[chosen]

    return compute


CASES = [
    Case("aicsd_pairwise_skd_case0", AICSD, features(16, 16), term(1, "features", 5)),
    *(
        Case(f"{name}{suffix}_case0", AICSD, logits(2, classes, 8, 12), term(number, "logits", classes))
        for number, name in ((2, "aicsd_kd_mean"), (3, "aicsd_ickd_logits"), (4, "aicsd_icsd_code"))
        for suffix, classes in (("", 5), ("_c21", 21))
    ),
]
