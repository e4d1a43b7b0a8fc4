"""Files of figures that explain the networks of a run, side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.data import Classes
from segdistill.distillation.features import FeatureReader
from segdistill.distillation.modes import evaluating
from segdistill.evaluation.scoring import predict
from segdistill.explain.class_similarity import class_distributions, class_similarities
from segdistill.explain.examples import Example
from segdistill.explain.feature_map import can_embed, embedded, neighbor_accuracy, pixel_features, sampled_pixels
from segdistill.explain.figures import Bar, heat, marked, matrix, over_gray, scatter, sheet
from segdistill.explain.files import remove_others
from segdistill.explain.grad_cam import grad_cam
from segdistill.explain.gskd_view import Descriptors, gskd_view, resized_like
from segdistill.losses._ops import labels_at
from segdistill.reports.drawing import Pixels, overlaid
from segdistill.system.progress import tracked

# Pixels of each class in the t-SNE of all images together.
PIXELS = 100

# The defaults of the loss: positions of each class, and columns of a descriptor.
SAMPLES, STRIDE = 16, 8

TEACHER = "teacher"


class Figures:
    """Writer of the figures of a run.

    Args:
        networks: The networks by name, in the order of the columns; ``teacher`` is the one that GSKD compares with.
        examples: The images.
        classes: The classes of the data set.
        folder: The folder for the PNGs.
        feature: The feature that Grad-CAM, t-SNE and GSKD read.
        seed: Seed of sampled pixels and of t-SNE.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        examples: Sequence[Example],
        classes: Classes,
        folder: Path,
        *,
        feature: str = "head",
        seed: int = 0,
    ) -> None:
        self.networks, self.examples, self.classes, self.folder = networks, examples, classes, folder
        self.feature, self.seed = feature, seed
        self.device = next(next(iter(networks.values())).parameters()).device
        self.passes = [self._passes(example) for example in tracked(examples, "forward passes", len(examples))]

    def write(self) -> tuple[list[Path], list[str]]:
        """Write all figures; return the files, and lines on accuracies and on what is left out.

        Figures of an earlier call with other images are removed.
        """
        files, lines = [], []
        for number in tracked(range(len(self.examples)), "figures of images", len(self.examples)):
            files.append(self.grad_cam(number))
            files.append(self.class_distributions(number))
            if TEACHER in self.networks and len(self.networks) > 1:
                files.append(self.gskd(number))
        files.append(self.class_similarities())
        if can_embed():
            file, more = self.feature_map()
            files.append(file)
            lines += more
        else:
            lines.append('t-SNE is left out; it needs scikit-learn: pip install "segdistill[explain]"')
        if TEACHER not in self.networks:
            lines.append("GSKD's samples are left out; they need the teacher")
        remove_others(self.folder, files)
        return files, lines

    def grad_cam(self, number: int) -> Path:
        """Draw Grad-CAM of each class in one image, a column for each network."""
        example, present = self.examples[number], self._present(number)
        pixels, size = example.pixels(), example.size
        maps = {
            name: grad_cam(
                network, example.image.to(self.device), example.labels.to(self.device), present, feature=self.feature
            )
            for name, network in self.networks.items()
        }
        rows = []
        for position, index in enumerate(present):
            only = torch.where(example.labels[0] == index, index, self.classes.ignore_index).numpy()
            cells = [overlaid(pixels, only, self.classes, 0.7)]
            for each in maps.values():
                one = each[0, position] / each[0, position].max().clamp(min=1e-12)
                cells.append(over_gray(pixels, _colors(one, size, 0, 1)))
            rows.append((self.classes.names[index], cells))
        return sheet(
            self._file("grad_cam", number),
            f"Grad-CAM at '{self.feature}': {example.name}",
            [f"image, {'label' if example.source == 'the data set' else 'predicted'}", *self.networks],
            rows,
            bars=[Bar("support for the class; each map divided by its maximum", 0, 1)],
            note=f"Score: sum of the class's logits over its pixels, as labeled by {example.source}.",
        )

    def class_distributions(self, number: int) -> Path:
        """Draw the distribution of each class over one image, a column for each network (AICSD, Figure 1)."""
        example, present = self.examples[number], self._present(number)
        shares = {name: class_distributions(features["logits"]) for name, features in self.passes[number].items()}
        rows = []
        for index in present:
            cells = []
            for each in shares.values():
                one = each[0, index] / each[0, index].max().clamp(min=1e-12)
                cells.append(_colors(one, example.size, 0, 1))
            rows.append((self.classes.names[index], [example.pixels(), *cells]))
        return sheet(
            self._file("class_distributions", number),
            f"Distribution of each class over the image: {example.name}",
            ["image", *shares],
            rows,
            bars=[Bar("share of a position; each map divided by its maximum", 0, 1)],
            note="Softmax of the logits of a class over all positions (AICSD, Eq. 2).",
        )

    def class_similarities(self) -> Path:
        """Draw the matrices of similarities between classes, mean over the images (AICSD, Figure 5)."""
        names = list(self.classes.names)
        means = {
            name: torch.cat([class_similarities(each[name]["logits"]) for each in self.passes]).mean(dim=0).cpu()
            for name in self.networks
        }
        high = max(float(each.max()) for each in means.values())
        cells = [matrix(each.numpy(), names, 0, high) for each in means.values()]
        note = "KL(row || column) of the classes' distributions over the image (AICSD, Eq. 3). "
        if TEACHER in means:
            differences = [
                f"{name} {float((each - means[TEACHER]).abs().mean()):.3g}"
                for name, each in means.items()
                if name != TEACHER
            ]
            note += f"Mean absolute difference to the teacher, nats: {', '.join(differences)}."
        return sheet(
            self.folder / "class_similarities.png",
            f"Divergence between the places of classes, mean of {self._images()}",
            list(means),
            [("", cells)],
            width=max(each.shape[1] for each in cells),
            bars=[Bar("divergence in nats; 0: at the same places", 0, high)],
            note=note,
        )

    def gskd(self, number: int) -> Path:
        """Draw GSKD's sampled positions, similarities and descriptors, a row for each network (GSKD, Figure 2)."""
        example, features = self.examples[number], self.passes[number]
        teacher = features[TEACHER][self.feature]
        labels = self._where_teacher_is_right(example)
        views = {
            name: gskd_view(
                resized_like(each[self.feature], teacher),
                teacher,
                labels.to(self.device),
                samples=SAMPLES,
                stride=STRIDE,
                generator=torch.Generator().manual_seed(self.seed),
                ignore_index=self.classes.ignore_index,
            )
            for name, each in features.items()
            if name != TEACHER
        }
        first = next(iter(views.values()))
        places = centers(first.places.tolist(), (teacher.shape[2], teacher.shape[3]), example.size)
        sampled = marked(example.pixels(), places, first.classes.tolist(), self.classes)
        blank = sampled * 0 + 255
        both = {TEACHER: first.teacher, **{name: view.student for name, view in views.items()}}
        if not places:  # the teacher is wrong everywhere
            return sheet(self._file("gskd", number), f"GSKD: {example.name}", ["no position to sample"],
                         [("", [sampled])])  # fmt: skip
        low = min(float(each.similarities.min()) for each in both.values())
        ends = [float(end) for each in both.values() for end in (each.descriptors.min(), each.descriptors.max())]
        table = []
        for name, each in both.items():
            text = name
            if name != TEACHER:
                text += f"\nKL {_divergence(each, first.teacher):.2g}"
            cells = [
                sampled if name == TEACHER else blank,
                heat(each.similarities.cpu().numpy(), low, 1),
                heat(each.shuffled.cpu().numpy(), low, 1),
                _stretched(heat(each.descriptors.cpu().numpy(), min(ends), max(ends))),
            ]
            table.append((text, cells))
        return sheet(
            self._file("gskd", number),
            f"GSKD at '{self.feature}': {example.name}",
            ["sampled positions", "similarities, by class", "rows shuffled", "descriptors, one a row"],
            table,
            bars=[
                Bar("cosine similarity of two positions", low, 1),
                Bar(f"entry of a descriptor: softmax of a group of {STRIDE} columns", min(ends), max(ends)),
            ],
            classes=self.classes,
            shown=sorted(set(first.classes.tolist())),
            note=f"{SAMPLES} positions of each class where the teacher is right, in the order of the key; a class with "
            "fewer repeats them. KL: the divergence from the teacher's descriptors, in nats (GSKD, Eq. 7).",
        )

    def feature_map(self) -> tuple[Path, list[str]]:
        """Draw t-SNE of the same pixels for each network (GSKD, Figure 7); return the file and lines of accuracies."""
        generator = torch.Generator().manual_seed(self.seed)
        sizes = [example.size for example in self.examples]
        each = max(1, PIXELS // len(self.examples))
        drawn = [sampled_pixels(example.labels, each, generator=generator) for example in self.examples]
        labels = torch.cat([e.labels[tuple(p.T)] for e, p in zip(self.examples, drawn, strict=True)])
        cells, columns, lines = [], [], []
        for name in self.networks:
            vectors = torch.cat([
                pixel_features(features[name][self.feature], pixels, size).float().cpu()
                for features, pixels, size in zip(self.passes, drawn, sizes, strict=True)
            ])  # fmt: skip
            points = embedded(vectors, seed=self.seed)
            before, after = neighbor_accuracy(vectors, labels), neighbor_accuracy(points, labels)
            cells.append(scatter(points.numpy(), labels.tolist(), self.classes, 400))
            columns.append(f"{name}: 5-NN {before:.1%} in the features, {after:.1%} here")
            lines.append(
                f"5-nearest-neighbor accuracy of {len(labels)} pixels, {name}: {before:.1%} in the features, "
                f"{after:.1%} in two dimensions"
            )
        file = sheet(
            self.folder / "feature_map.png",
            f"t-SNE of '{self.feature}' at the same {len(labels)} pixels of {self._images()}",
            columns,
            [("", cells)],
            width=400,
            classes=self.classes,
            shown=sorted(set(labels.tolist())),
            note="5-NN: share of pixels whose class is the most frequent one among their 5 nearest neighbors. "
            "Distances between groups mean nothing in t-SNE.",
        )
        return file, lines

    @torch.no_grad()
    def _passes(self, example: Example) -> dict[str, dict[str, Tensor]]:
        """Return the feature and the logits of each network for one image."""
        found = {}
        for name, network in self.networks.items():
            image = example.image.to(self.device, copy=True)  # a network may change its input in place
            reader = FeatureReader(network, [self.feature], image.clone())
            with evaluating(network):
                features = reader(image)
            found[name] = {key: features[key] for key in (self.feature, "logits")}
        return found

    def _present(self, number: int) -> list[int]:
        """Return the classes that have a position in the logits of every network."""
        example = self.examples[number]
        known = [
            set(labels_at(example.labels, features["logits"].cpu()).flatten().tolist())
            for features in self.passes[number].values()
        ]
        return sorted(set.intersection(*known) - {self.classes.ignore_index})

    @torch.no_grad()
    def _where_teacher_is_right(self, example: Example) -> Tensor:
        network = self.networks[TEACHER]
        with evaluating(network):
            image = example.image.to(self.device, copy=True)
            predicted = predict(network, image, example.size, self.classes.void).cpu()
        return torch.where(predicted == example.labels, example.labels, self.classes.ignore_index)

    def _images(self) -> str:
        return f"{len(self.examples)} image{'s' if len(self.examples) != 1 else ''}"

    def _file(self, kind: str, number: int) -> Path:
        return self.folder / f"{kind}_{number + 1}_{self.examples[number].stem}.png"


def centers(places: Sequence[int], cells: tuple[int, int], size: tuple[int, int]) -> list[tuple[float, float]]:
    """Return the row and column, in a picture of ``size``, of the center of each cell of a map of ``cells``.

    Args:
        places: Positions in the map, rows first.
        cells: Height and width of the map.
        size: Height and width of the picture.
    """
    (height, width), (rows, columns) = size, cells
    return [((place // columns + 0.5) * height / rows, (place % columns + 0.5) * width / columns) for place in places]


def _colors(values: Tensor, size: tuple[int, int], low: float, high: float) -> Pixels:
    """Return a map (h, w) as colors at the size of the picture, bilinearly."""
    full = F.interpolate(values[None, None].float(), size, mode="bilinear", align_corners=False)
    return heat(full[0, 0].cpu().numpy(), low, high)


def _divergence(student: Descriptors, teacher: Descriptors) -> float:
    """Return the mean over the groups of KL(teacher || student)."""
    s, t = student.descriptors.double(), teacher.descriptors.double()
    return float((t * (t / s).log()).sum(dim=1).mean())


def _stretched(pixels: Pixels) -> Pixels:
    """Return a picture of a few long rows as a square: each row as often as needed."""
    return pixels.repeat(max(1, pixels.shape[1] // pixels.shape[0]), axis=0)
