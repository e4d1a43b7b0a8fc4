"""Write docs/losses.md from the catalogue's cards and the measurements in benchmarks/losses.json.

python docs/make_losses.py
"""

import json
from pathlib import Path
from typing import Any

from segdistill.catalogue.cards import LOSS_CARDS, LossCard
from segdistill.catalogue.methods import described
from segdistill.recipes import METHODS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "losses.md"
RECORD = ROOT / "benchmarks" / "losses.json"

HEAD = """# Losses

Every loss compares features or logits of the student with those of the teacher. A `Term` states which ones, and with
what `weight`. `make docs` writes this page from `src/segdistill/catalogue/cards.py` and `benchmarks/losses.json`.
`segdistill losses` prints the same in a terminal. The docstring of a loss tells more, and lists where the released
code departs from the paper.

In the equations, S is the student and T the teacher; softmax_c is over classes or channels, softmax_hw over
positions; mean_i is over pixels; there are N images, d channels, C classes and h x w positions.
"""

MEASURED = """
## Cost

Time of the forward and backward pass, relative to a training step of the student alone, and peak memory beyond the
inputs. Each loss is a term of a Distiller, with its adapter and its inner model. Features: ({batch}, 128, 64, 128) of
the student, ({batch}, 256, 64, 128) of the teacher; 19 classes; labels of 512x1024. The step trains
`deeplabv3_resnet18` on {batch} crops of 512x1024: {step_seconds:.1f} s on {threads} cores without an accelerator
(`python benchmarks/losses.py`, PyTorch {torch}, commit {commit}).

| loss | time | memory | grows as |
|---|---|---|---|
"""

_PARTS = {
    "pixels": "a mean over pixels: the parts of an accumulated step are weighted by their pixels",
    "images": "a mean over images: the parts of an accumulated step are weighted by their images",
    "batch": "compares within the whole batch, or adds several means: the parts of an accumulated step have equal "
    "weights, which differs from the step on the whole batch",
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
        f"    {card.equation}",
        "",
        f"* compares {' or '.join(card.needs)}, by default on `{on}`; {widths}; labels {labels}",
        *([f"* hyperparameters: {defaults}"] if defaults else []),
        f"* {_PARTS[card.mean_over]}",
        f"* weight {card.weight:g}: {card.weight_source}",
        f"* checked against: {card.evidence}",
    ]
    return "\n".join(lines)


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
        "`method=NAME` in a recipe. Each is added to the task loss, with the weights of its paper or its authors.",
        "",
        "| method | terms: weight x loss |",
        "|---|---|",
    ]
    for name, terms in METHODS.items():
        lines.append(f"| `{name}` | {', '.join(described(terms)) or 'none: the student alone'} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
