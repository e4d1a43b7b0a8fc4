"""Named methods: the terms of a paper with its weights, for ``method=NAME`` in a recipe.

The weights come from the papers and from the code bases whose protocol is used here; a comment at each method names the
source. They were chosen for the full budget (40 000 steps, batch 16) and for backbones pretrained on ImageNet.
"""

from collections.abc import Mapping
from typing import Any

from segdistill.catalogue.cards import LOSS_CARDS, loss_card
from segdistill.errors import UserError, unknown

Terms = dict[str, dict[str, Any]]

_KD: Terms = {"kd": {"loss": "kd", "on": "logits", "weight": 1.0}}
# CIRKD code base: features 50, logits 3, temperature 4, on top of KD. Its adversarial term is not part of CWD. Its 50
# weights a mean over the student's channels; with 128 channels to the teacher's 256 that is 100 here, as the papers'
# recipes set it.
_CWD: Terms = {
    **_KD,
    "cwd_logits": {"loss": "cwd", "on": "logits", "weight": 3.0, "temperature": 4.0},
    "cwd_features": {"loss": "cwd", "on": "head", "weight": 50.0, "temperature": 4.0},
}
# CIRKD code base, whose 8 processes compare 2 images each; the recipes for Pascal VOC set its 0.01 there.
_CIRKD: Terms = {
    **_KD,
    "cirkd_minibatch": {"loss": "cirkd_minibatch", "on": "head", "weight": 1.0, "images": 2},
    "cirkd_memory": {"loss": "cirkd_memory", "on": "head", "labels": "valid", "weight": 0.1},
}
# CIRKD code base.
_SKD: Terms = {
    **_KD,
    "skd_pairwise": {"loss": "skd_pairwise", "on": "head", "weight": 10.0},
    "skd_holistic": {"loss": "skd_holistic", "on": "logits", "weight": 0.001},
}
# Af-DCD code base; its weights of the two parts for Cityscapes are the loss's defaults. The recipes for other data sets
# set theirs.
_AF_DCD: Terms = {**_KD, "af_dcd": {"loss": "af_dcd", "on": "stage4", "weight": 1.0}}
_DIST: Terms = {"dist": {"loss": "dist", "on": "logits", "weight": 1.0}}


def _gskd(samples: int, stride: int | str, weight: float) -> Terms:
    term = {"loss": "gskd", "on": "head", "labels": "teacher_correct", "weight": weight}
    return {"gskd": {**term, "samples": samples, "stride": stride}}


def adaptive(schedule: str, *, classes: int, scale: float = 1.0, **arguments: Any) -> Terms:
    """Return AICSD's terms, Eq. 6: alpha (CE + lambda ICSD) + (1 - alpha) KD, with alpha given by ``schedule``.

    The released code has lambda = 9500 and a weight of 10 for KD. Its KD is also a mean over ``classes``, so 10
    there is 10 / classes for KD as in Eq. 1.

    Args:
        schedule: The name of a schedule in :mod:`segdistill.schedules`.
        classes: Number of classes.
        scale: Factor of ICSD and KD. The released code divides CE, and only CE, by the batch size, so the batch size
            gives its ratios; 1 leaves both distillation terms that much weaker against CE.
        arguments: Further arguments of the schedule.
    """

    def weight(start: float, end: float) -> dict[str, Any]:
        return {"weight": {schedule: {"start": start, "end": end, **arguments}}}

    return {
        "task": weight(0.0, 1.0),
        "icsd": {"loss": "icsd", "on": "logits", "form": "released", **weight(0.0, 9500.0 * scale)},
        "kd": {"loss": "kd", "on": "logits", **weight(10 * scale / classes, 0.0)},
    }


def _pkd(stage: str) -> dict[str, Any]:
    return {"loss": "fitnet", "on": stage, "normalize": "channel", "weight": 3.0}


def _channel_distillation(stage: str) -> dict[str, Any]:
    weight = {"steps": {"start": 6.0, "factor": 0.9, "at": [0.3, 0.6, 0.9]}}
    return {"loss": "channel_distillation", "on": stage, "weight": weight}


def _embeddings(*weights: float) -> Terms:
    """Return a term for the patch embedding of each stage: the mean squared error after a 1x1 convolution."""
    names = {f"embedding{number}": weight for number, weight in enumerate(weights, start=1)}
    return {name: {"loss": "fitnet", "on": name, "weight": weight} for name, weight in names.items()}


METHODS: dict[str, Terms] = {
    # The student alone: the baseline that every method is compared with.
    "none": {},
    "kd": _KD,
    # Logit standardization (Sun et al., CVPR 2024), the released commands for CIFAR-100. No weight for segmentation was
    # published.
    "kd_standardized": {
        "kd": {"loss": "kd", "on": "logits", "weight": 9.0, "temperature": 2.0, "standardize": True},
    },
    "cwd": _CWD,
    "cirkd": _CIRKD,
    "dist": _DIST,
    "skd": _SKD,
    "af_dcd": _AF_DCD,
    # CIRKD code base, each on top of KD.
    "skd_pairwise": {**_KD, "skd_pairwise": {"loss": "skd_pairwise", "on": "head", "weight": 10.0}},
    "at": {**_KD, "at": {"loss": "at", "on": "head", "weight": 10_000.0}},
    "fitnet": {**_KD, "fitnet": {"loss": "fitnet", "on": "head", "weight": 10.0}},
    "ifvd": {**_KD, "ifvd": {"loss": "ifvd", "on": "head", "labels": "valid", "weight": 20.0}},
    "cirkd_minibatch": {**_KD, "cirkd_minibatch": _CIRKD["cirkd_minibatch"]},
    # CIRKD code base, without KD.
    "dsd": {
        "dsd_pixel": {"loss": "dsd_pixel", "on": ["aux", "head", "logits"], "weight": 1000.0},
        "dsd_category": {"loss": "dsd_category", "on": "logits", "weight": 10.0},
    },
    # GSKD, section V.A: alone N = 16, S = 8, lambda = 10 with KD (Eq. 8); as a plug-in N = 8, S = C.
    "gskd": {**_KD, **_gskd(16, 8, 10.0)},
    "skd+gskd": {**_SKD, **_gskd(8, "classes", 5.0)},
    "cwd+gskd": {**_CWD, **_gskd(8, "classes", 2.0)},
    "cirkd+gskd": {**_CIRKD, **_gskd(8, "classes", 5.0)},
    "af_dcd+gskd": {**_AF_DCD, **_gskd(8, "classes", 5.0)},
    "dist+gskd": {**_DIST, **_gskd(8, "classes", 10.0)},
    # AICSD, for Pascal VOC's 21 classes. The method icsd, without KD, is its Eq. 5. The weights come from the released
    # code, which also divides CE by the batch size; the paper's recipes have its ratios.
    "icsd": {"icsd": {"loss": "icsd", "on": "logits", "form": "released", "weight": 9500.0}},
    "aicsd": adaptive("linear", classes=21),
    "aicsd_exponential": adaptive("exponential", classes=21),
    # I2CKD: 0.6 on the prototypes, 3 on CWD of the logits at temperature 2.
    "i2ckd": {
        "i2ckd": {"loss": "i2ckd", "on": "head", "labels": "valid", "weight": 0.6},
        "cwd_logits": {"loss": "cwd", "on": "logits", "weight": 3.0, "temperature": 2.0},
    },
    # Channel distillation on ImageNet: 6 on each of four stages, times 0.9 every 30 of 100 epochs, and KD where the
    # teacher is right. The released code, unlike the paper, also omits cross-entropy and KD in the first 30 epochs.
    "channel_distillation": {
        "kd": {"loss": "kd", "on": "logits", "labels": "teacher_correct", "weight": 1.0},
        **{f"channels_{stage}": _channel_distillation(stage) for stage in ("stage1", "stage2", "stage3", "stage4")},
    },
    # PKD (Cao et al., NeurIPS 2022): normalized features of several stages. MMRazor's configuration for Faster R-CNN
    # has 6 times half the squared difference on each of four maps of a feature pyramid. These networks have no pyramid,
    # so the stages are a choice.
    "pkd": {f"pkd_{stage}": _pkd(stage) for stage in ("stage1", "stage2", "stage3", "stage4")},
    # MasKD with the second term of the authors' code, for networks with auxiliary heads. There, the tokens of the main
    # head draw the masks on the auxiliary scores too.
    "maskd_aux": {"maskd": {}, "maskd_aux": {"loss": "maskd", "on": "aux", "weight": 0.4}},
    # TransKD's alignment of patch embeddings, for two SegFormers. The weights come from the released script, whose
    # projections have a bias, and project where the widths are equal too. Its fusion of features is not included.
    "transkd_embeddings": _embeddings(0.1, 0.1, 0.5, 1.0),
    # Methods of one loss, on the feature and with the weight of its card, which names the source. The authors' code of
    # FreeKD adds 5 times the mean squared error of the same maps; see its docstring.
    # AttnFD: the README of the released code.
    "attnfd": {"attnfd": {}},
    # MGD: the released configuration for segmentation also has 3 x cwd on the logits at temperature 4: terms.cwd={}.
    "mgd": {"mgd": {}},
    # QSD: GKD trains the student's encoder with it alone, without the task: terms.task.weight=0.
    "qsd": {"qsd": {}},
    **{name: {name: {}} for name in ("ickd", "sp", "nst", "fsp", "rkd", "md", "csc")},
    **{name: {name: {}} for name in ("maskd", "freekd", "diffkd", "knowledge_adaptation")},
    **{name: {name: {}} for name in ("ofd", "crd", "srrl", "reviewkd")},
}

# The name of a loss is also a method: one term with the defaults of its card. A method of that name takes precedence.
_LOSSES = frozenset(card.name for card in LOSS_CARDS if card.teacher)


def terms_of(method: str, own: Mapping[str, Terms] | None = None) -> Terms:
    """Return the terms of a method. ``a+b`` has the terms of both, unless it is the name of a method, in either order.

    Args:
        method: A name in ``METHODS`` or ``own``; or a loss that needs a teacher, which gives one term with the defaults
            of its card; or such names joined by ``+``.
        own: The recipe's changes to named methods, term by term (None removes a term), and its additional methods.

    Raises:
        UserError: An unknown method, or two methods that give one term different settings.
    """
    own = own or {}
    method = _in_known_order(method, own)
    if method in METHODS or method in own:
        terms = dict(METHODS.get(method, {}))
        for name, change in own.get(method, {}).items():
            terms[name] = updated(terms.get(name), change)
        return {name: term for name, term in terms.items() if term is not None}
    if method in _LOSSES:
        return {method: {}}
    terms = {}
    for part in method.split("+"):
        if part not in METHODS and part not in own and part not in _LOSSES:
            raise unknown("method", part, [*METHODS, *own, *_LOSSES])
        for name, term in terms_of(part, own).items():
            if terms.get(name, term) != term:
                raise UserError(
                    f"method '{method}': '{part}' changes the term '{name}' of the others; give the terms one by one"
                )
            terms[name] = term
    return terms


def _in_known_order(method: str, own: Mapping[str, Terms]) -> str:
    """Return the method that has these parts in another order, if there is one: ``gskd+dist`` is ``dist+gskd``."""
    parts = sorted(method.split("+"))
    return next((known for known in (*METHODS, *own) if "+" in known and sorted(known.split("+")) == parts), method)


def updated(term: Any, change: Any) -> Any:
    """Return a term with the changed keys; None if the change is None, which removes the term."""
    return {**term, **change} if isinstance(term, dict) and isinstance(change, dict) else change


def described(terms: Terms) -> list[str]:
    """Return ``weight x name`` for each term, as in ``10 x gskd``. A term without a weight has that of its card."""
    return [f"{_weight(term, name)} x {name}" for name, term in terms.items()]


def _weight(term: Mapping[str, Any], name: str) -> str:
    weight = term["weight"] if "weight" in term else loss_card(str(term.get("loss", name))).weight
    if not isinstance(weight, dict):
        return f"{weight:g}"
    ((schedule, arguments),) = weight.items()
    if schedule == "steps":
        return f"steps({arguments['start']:g}, x {arguments['factor']:g} at {', '.join(map(str, arguments['at']))})"
    return f"{schedule}({arguments['start']:g} → {arguments['end']:g})"
