"""Write docs/losses.md from the catalogue's cards, the losses' docstrings and benchmarks/losses.json.

python docs/make_losses.py
"""

import inspect
import json
import re
from pathlib import Path
from typing import Any

from segdistill import losses
from segdistill.catalogue.cards import LOSS_CARDS, LossCard
from segdistill.catalogue.methods import described
from segdistill.recipes import METHODS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "losses.md"
RECORD = ROOT / "benchmarks" / "losses.json"

HEAD = """# Losses

Every loss compares features or logits of the student with those of the teacher. A `Term` states which ones, and with
what `weight`. `make docs` writes this page from `src/segdistill/catalogue/cards.py` and `benchmarks/losses.json`.
`segdistill losses` lists the losses and methods in a terminal. The docstring of a loss has the details and the
differences between the released code and the paper: see [Python interface](api.md#loss-functions-and-modules).

The equation is from the docstring, which defines its symbols. Below it is the same as one line of text.
In these lines, the subscripts S and T mean student and teacher, tau is the temperature, and ^T transposes a matrix. z
are logits, f features, x either, p class probabilities, y labels. KL(a || b) is the Kullback-Leibler divergence, corr
the Pearson correlation, cos the cosine. softmax_c is over classes or channels, softmax_hw over positions. mean_i is
over pixels. There are N images, d channels, C classes and h x w positions.

"Golden numbers" are inputs and results of the authors' code. They are not in the repository:
`python -m tests.losses.reference.make` lists how to make them, and the tests that need them are skipped without them.
Every loss is also compared with its equation written out, in tests that run for everyone.

A mean over pixels or images makes gradient accumulation exact: the parts of a step are weighted by their pixels or
images. Where the value is another, the parts have equal weights, and the step differs from the one on the whole batch.
"""

MEASURED = """
## Cost

Time of the forward and backward pass, relative to a training step of the student alone, and peak memory beyond the
inputs. Each loss is a term of a Distiller, with its adapter and its inner model. Features: ({batch}, 128, 64, 128) of
the student, ({batch}, 256, 64, 128) of the teacher; 19 classes; labels of 512x1024. The step trains
`deeplabv3_resnet18` on {batch} crops of 512x1024: {step_seconds:.1f} s on {threads} cores without an accelerator
(`python -m benchmarks.terms`, PyTorch {torch}, commit {commit}).

| loss | time | memory | grows as |
|---|---|---|---|
"""

_MEANS = {
    "pixels": "a mean over pixels",
    "images": "a mean over images",
    "batch": "no single mean over pixels or images",
}


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """Return the text of the page."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    parts = [HEAD, *(section(card) for card in LOSS_CARDS), _costs(record), _methods()]
    return "\n".join(part.strip("\n") + "\n" for part in parts)


def section(card: LossCard) -> str:
    """Return the section of one loss."""
    on = card.on if isinstance(card.on, str) else ", ".join(card.on)
    labels = "required" if card.labels == "required" else "optional (void pixels do not count)"
    if not card.teacher:
        widths = "student alone"
    elif not card.equal_channels:
        widths = "channels may differ"
    elif "student_channels" in card.hyperparameters:
        widths = "channels may differ: with `student_channels`, the loss projects them"
    else:
        widths = (
            "equal classes" if card.needs == ("logits",) else "equal channels, by a 1x1 convolution where they differ"
        )
    defaults = ", ".join(
        f"`{key}={value}`" if value is not None else f"`{key}`" for key, value in card.hyperparameters.items()
    )
    call = f"`{card.module}`" if card.module_only else f"`{card.name}`, `{card.module}`"
    lines = [
        f"## {card.name}",
        "",
        f"{card.idea[0].upper()}{card.idea[1:]}. {call}; [{card.paper}]({card.url}).",
        "",
        *equations(card),
        f"    {card.equation}",
        "",
        f"* compares {' or '.join(card.needs)}, by default on `{on}`; {widths}; labels {labels}",
        *([f"* hyperparameters: {defaults}"] if defaults else []),
        f"* {_MEANS[card.mean_over]}: {_exactness(card)}",
        f"* weight {card.weight:g}: {card.weight_source}",
        f"* checked against: {card.evidence}",
    ]
    return "\n".join(lines)


def _exactness(card: LossCard) -> str:
    """Return whether a step in parts equals a step on the whole batch."""
    is_exact = card.mean_over != "batch" and not card.parts
    reason = f" ({card.parts})" if card.parts else ""
    return f"{'exact' if is_exact else 'not exact'} with gradient accumulation{reason}"


def equations(card: LossCard) -> list[str]:
    """Return the equations of a loss as lines of Markdown: the math directives of its docstring."""
    # The equation of GSKD is that of the function which it calls with the sampled similarities.
    name = "sub_image_descriptor_kl" if card.name == "gskd" else card.module if card.module_only else card.name
    docstring = inspect.getdoc(getattr(losses, name)) or ""
    lines = []
    for inner in re.findall(r"^\.\. math::(.*(?:\n +.*)*)", docstring, re.MULTILINE):
        lines += ["```math", *(line.strip() for line in inner.strip().splitlines()), "```", ""]
    if not lines:
        raise ValueError(f"the docstring of losses.{name} has no line '.. math::'")
    return lines


def _costs(record: dict[str, Any]) -> str:
    rows = []
    for card in LOSS_CARDS:
        measured = record["losses"].get(card.name)
        time = f"{_figure(measured['percent'])} %" if measured else "not measured"
        memory = f"{_figure(measured['megabytes'])} MB" if measured else "not measured"
        rows.append(f"| {card.name} | {time} | {memory} | {card.cost}{f'; {card.costly}' if card.costly else ''} |")
    return MEASURED.format_map(record) + "\n".join(rows)


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _methods() -> str:
    lines = [
        "## Methods",
        "",
        "`method=NAME` in a recipe, or `Distiller(student, teacher, NAME)`, adds these terms to the task loss. The",
        "weights come from the paper or its released code, where one was published. The table has the names of terms.",
        "A term can change the settings of its loss; the `recipe.yaml` of a run lists all of them. `linear(a → b)` and",
        "`exponential(a → b)` change the weight from a to b over the run. `steps(a, x f at s, ...)` starts at a and",
        "multiplies by f at these shares of the run. 0.47619 is 10/21, for the 21 classes of Pascal VOC.",
        "",
        "| method | weight x term |",
        "|---|---|",
    ]
    for name, terms in METHODS.items():
        lines.append(f"| `{name}` | {', '.join(described(terms)) or 'none: the student alone'} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
