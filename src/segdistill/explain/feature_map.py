"""Features of pixels in two dimensions by t-SNE, with the accuracy of the nearest neighbors as a number."""

from importlib.util import find_spec

import torch
from torch import Tensor

from segdistill.errors import UserError


def sampled_pixels(
    labels: Tensor, each: int, *, generator: torch.Generator | None = None, ignore_index: int = 255
) -> Tensor:
    """Return up to ``each`` different pixels of every class, drawn from all images.

    Args:
        labels: Class indices, shape (N, H, W).
        each: The largest number of pixels of a class.
        generator: Random generator.
        ignore_index: Label of the pixels that are never drawn.

    Returns:
        Image, row and column of each pixel, shape (P, 3), in random order: pixels of one cell of a feature have equal
        vectors, and an order by class would always count the neighbors of one class first.

    Example:
        >>> import torch
        >>> from segdistill.explain.feature_map import sampled_pixels
        >>> sampled_pixels(torch.tensor([[[255, 255], [255, 1]]]), 2)
        tensor([[0, 1, 1]])
    """
    drawn = []
    for index in torch.unique(labels[labels != ignore_index]):
        places = (labels == index).nonzero()
        drawn.append(places[torch.randperm(len(places), generator=generator)[:each].to(places.device)])
    if not drawn:
        return torch.zeros(0, 3, dtype=torch.long)
    pixels = torch.cat(drawn)
    return pixels[torch.randperm(len(pixels), generator=generator).to(pixels.device)]


def pixel_features(feature: Tensor, pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the vector of a feature at each pixel, from the cell that contains the pixel.

    Args:
        feature: A map, shape (N, C, h, w).
        pixels: Image, row and column, shape (P, 3).
        size: Height and width that rows and columns refer to.

    Returns:
        Vectors, shape (P, C).

    Example:
        >>> import torch
        >>> from segdistill.explain.feature_map import pixel_features
        >>> pixel_features(torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[0, 3, 1], [0, 0, 2]]), (4, 4))
        tensor([[1.],
                [2.]])
    """
    image, row, column = pixels.to(feature.device).unbind(dim=1)
    height, width = feature.shape[2:]
    return feature[image, :, row * height // size[0], column * width // size[1]]


def embedded(vectors: Tensor, *, seed: int = 0) -> Tensor:
    """Return vectors in two dimensions by t-SNE, started from their principal components.

    The perplexity is 30, or a third of the number of vectors if that is smaller. t-SNE keeps neighbors together;
    distances between groups and the size of a group mean nothing.

    Args:
        vectors: Shape (P, C), at least 4 of them.
        seed: Seed of t-SNE.

    Returns:
        Points, shape (P, 2), float32.

    Raises:
        UserError: scikit-learn is missing, or there are fewer than 4 vectors.

    Reference: van der Maaten and Hinton, 2008, https://jmlr.org/papers/v9/vandermaaten08a.html. Park et al., GSKD, draw
    it in Figure 7.
    """
    if not can_embed():
        raise UserError('t-SNE needs the package scikit-learn: pip install "segdistill[explain]"')
    if len(vectors) < 4:
        raise UserError(f"t-SNE needs 4 pixels or more, got {len(vectors)}; give more images")
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(vectors) - 1) / 3)
    start = "pca" if min(vectors.shape) >= 2 else "random"
    model = TSNE(perplexity=perplexity, init=start, random_state=seed)
    points: Tensor = torch.from_numpy(model.fit_transform(vectors.detach().float().cpu().numpy()))
    return points


def can_embed() -> bool:
    """Return True if scikit-learn is installed."""
    return find_spec("sklearn") is not None


def neighbor_accuracy(vectors: Tensor, labels: Tensor, *, neighbors: int = 5) -> float:
    """Return the share of vectors whose class is the most frequent one among their nearest neighbors.

    A vector is not its own neighbor. Between classes with equal votes, the one with the nearest neighbor wins.

    Args:
        vectors: Shape (P, C).
        labels: Class indices, shape (P,).
        neighbors: Number of neighbors, at most P - 1 of which there are.

    Example:
        >>> import torch
        >>> from segdistill.explain.feature_map import neighbor_accuracy
        >>> vectors = torch.tensor([[0.0], [1.0], [2.0], [10.0], [11.0]])
        >>> neighbor_accuracy(vectors, torch.tensor([0, 0, 0, 1, 1]), neighbors=1)
        1.0
    """
    if len(vectors) < 2:
        return 0.0
    values = vectors.detach().double()
    distances = torch.cdist(values, values, compute_mode="donot_use_mm_for_euclid_dist")
    distances.fill_diagonal_(torch.inf)
    count = min(neighbors, len(vectors) - 1)
    near = labels[distances.argsort(dim=1, stable=True)[:, :count]]  # (P, count), the nearest first
    same = near[:, :, None] == near[:, None, :]
    votes = same.sum(dim=2) * count + torch.arange(count, 0, -1, device=near.device)
    winner = near.gather(1, votes.argmax(dim=1, keepdim=True))[:, 0]
    return float((winner == labels).double().mean())
