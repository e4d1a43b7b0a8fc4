"""Named methods: the terms of a paper with its own weights, to be used as ``method=NAME`` in a recipe.

Weights are those of the papers and of the code bases whose protocol is used here; where they come from stands beside
each. They belong to the full budget (40 000 steps, batch 16) and to ImageNet backbones.
"""

from collections.abc import Mapping
from typing import Any

from segdistill.catalogue.cards import LOSS_CARDS, loss_card
from segdistill.errors import UserError, unknown

Terms = dict[str, dict[str, Any]]

_KD: Terms = {"kd": {"loss": "kd", "on": "logits", "weight": 1.0}}
# CIRKD code base: features 50, logits 3, temperature 4, on top of KD. Its adversarial term is not part of CWD. Its 50
# belongs to a mean over the student's channels: for 128 of 256 that is 100 here, which the papers' recipes say.
_CWD: Terms = {
    **_KD,
    "cwd_logits": {"loss": "cwd", "on": "logits", "weight": 3.0, "temperature": 4.0},
    "cwd_features": {"loss": "cwd", "on": "head", "weight": 50.0, "temperature": 4.0},
}
# CIRKD code base; its 0.01 on Pascal VOC stands in those recipes.
_CIRKD: Terms = {
    **_KD,
    "cirkd_minibatch": {"loss": "cirkd_minibatch", "on": "head", "weight": 1.0},
    "cirkd_memory": {"loss": "cirkd_memory", "on": "head", "labels": "valid", "weight": 0.1},
}
# CIRKD code base.
_SKD: Terms = {
    **_KD,
    "skd_pairwise": {"loss": "skd_pairwise", "on": "head", "weight": 10.0},
    "skd_holistic": {"loss": "skd_holistic", "on": "logits", "weight": 0.001},
}
# Af-DCD code base; its weights of the two parts for Cityscapes are the loss's defaults, others stand in the recipes.
_AF_DCD: Terms = {**_KD, "af_dcd": {"loss": "af_dcd", "on": "stage4", "weight": 1.0}}
_DIST: Terms = {"dist": {"loss": "dist", "on": "logits", "weight": 1.0}}


def _gskd(samples: int, stride: int | str, weight: float) -> Terms:
    term = {"loss": "gskd", "on": "head", "labels": "teacher_correct", "weight": weight}
    return {"gskd": {**term, "samples": samples, "stride": stride}}


def adaptive(schedule: str, *, classes: int) -> Terms:
    """Return AICSD's terms, Eq. 6: alpha (CE + lambda ICSD) + (1 - alpha) KD, alpha by ``schedule``.

    lambda = 9500 and KD's 10 belong to the released forms; that KD is a mean over ``classes`` too, so its 10 is
    10 / classes of Eq. 1.
    """

    def weight(start: float, end: float) -> dict[str, Any]:
        return {"weight": {schedule: {"start": start, "end": end}}}

    return {
        "task": weight(0.0, 1.0),
        "icsd": {"loss": "icsd", "on": "logits", "form": "released", **weight(0.0, 9500.0)},
        "kd": {"loss": "kd", "on": "logits", **weight(10 / classes, 0.0)},
    }


def _channel_distillation(stage: str) -> dict[str, Any]:
    weight = {"steps": {"start": 6.0, "factor": 0.9, "at": [0.3, 0.6, 0.9]}}
    return {"loss": "channel_distillation", "on": stage, "weight": weight}


METHODS: dict[str, Terms] = {
    # The student alone: the baseline that every method is compared with.
    "none": {},
    "kd": _KD,
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
    "cirkd_minibatch": {**_KD, "cirkd_minibatch": {"loss": "cirkd_minibatch", "on": "head", "weight": 1.0}},
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
    # AICSD, for Pascal VOC's 21 classes; icsd alone is its Eq. 5.
    "icsd": {"icsd": {"loss": "icsd", "on": "logits", "form": "released", "weight": 9500.0}},
    "aicsd": adaptive("linear", classes=21),
    "aicsd_exponential": adaptive("exponential", classes=21),
    # I2CKD: 0.6 on the prototypes, 3 on CWD of the logits at temperature 2.
    "i2ckd": {
        "i2ckd": {"loss": "i2ckd", "on": "head", "labels": "valid", "weight": 0.6},
        "cwd_logits": {"loss": "cwd", "on": "logits", "weight": 3.0, "temperature": 2.0},
    },
    # Channel distillation on ImageNet: 6 on each of four stages, x 0.9 every 30 of 100 epochs, and KD where the teacher
    # is right. The released code also leaves cross-entropy and KD out of the first 30 epochs, unlike its text.
    "channel_distillation": {
        "kd": {"loss": "kd", "on": "logits", "labels": "teacher_correct", "weight": 1.0},
        **{f"channels_{stage}": _channel_distillation(stage) for stage in ("stage1", "stage2", "stage3", "stage4")},
    },
    # One loss alone, on the feature and with the weight of its card, which names the source.
    **{name: {name: {}} for name in ("ickd", "sp", "nst", "fsp", "rkd", "md", "csc")},
    **{name: {name: {}} for name in ("maskd", "freekd", "diffkd", "knowledge_adaptation")},
    **{name: {name: {}} for name in ("ofd", "crd", "srrl", "reviewkd")},
}

# A loss is a method too, as a term with its card's defaults; a method of that name goes before it.
_LOSSES = frozenset(card.name for card in LOSS_CARDS if card.teacher)


def terms_of(method: str, own: Mapping[str, Terms] | None = None) -> Terms:
    """Return the terms of a method; ``a+b``, where it has no entry of its own, is the terms of both.

    Args:
        method: A name of ``METHODS`` or ``own``; else a loss that compares with a teacher, which is that loss alone as
            its card has it; or such names joined by ``+``.
        own: What a recipe changes of the named methods, term by term (None takes one out), and methods of its own.

    Raises:
        UserError: Unknown method, or two methods that give one term different settings.
    """
    own = own or {}
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
                    f"method '{method}': '{part}' changes the term '{name}' of the others; write the terms out"
                )
            terms[name] = term
    return terms


def updated(term: Any, change: Any) -> Any:
    """Change some keys of a term; None takes it out."""
    return {**term, **change} if isinstance(term, dict) and isinstance(change, dict) else change


def described(terms: Terms) -> list[str]:
    """Return ``weight x name`` for each term, as in ``10 x gskd``; a term without a weight has its card's."""
    return [f"{_weight(term, name)} x {name}" for name, term in terms.items()]


def _weight(term: Mapping[str, Any], name: str) -> str:
    weight = term["weight"] if "weight" in term else loss_card(str(term.get("loss", name))).weight
    if not isinstance(weight, dict):
        return f"{weight:g}"
    ((schedule, arguments),) = weight.items()
    if schedule == "steps":
        return f"steps({arguments['start']:g}, x {arguments['factor']:g} at {', '.join(map(str, arguments['at']))})"
    return f"{schedule}({arguments['start']:g} → {arguments['end']:g})"
