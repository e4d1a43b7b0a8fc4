"""The crops of a replay: crop k of an image, and the positions of a run at which it is drawn."""

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from segdistill.data.datasets.base import ImageDataset, Sample
from segdistill.data.stream import TrainingStream, Transform, random_state
from segdistill.replay.answers import Answers

# The seed of the crops. It is not the seed of a run, so that the runs of all seeds share the answers.
_SEED = 0

# The last numbers of the seeds make the random sequences of crops and draws independent of those of a stream.
_CROPS, _DRAWS = 2, 3


class Crops(Dataset[tuple[Tensor, Tensor]]):
    """The crops of every image, each made again from the image whenever it is asked for.

    Crop k of image i is drawn from a random state that depends on i and k alone. The crop is mirrored or not as part of
    its augmentation, so an answer is never mirrored. Item i is the crops of image i, (K, 3, h, w), and their labels.

    Args:
        dataset: The training images.
        transform: The training augmentation.
        count: The number K of crops of each image.
    """

    def __init__(self, dataset: ImageDataset, transform: Transform, count: int) -> None:
        self.dataset, self.transform, self.count = dataset, transform, count

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        sample = self.dataset[index]
        images, labels = [], []
        for k in range(self.count):
            image, target = self._augmented(sample, index, k)
            images.append(image)
            labels.append(target)
        return torch.stack(images), torch.stack(labels)

    def crop(self, index: int, k: int) -> tuple[Tensor, Tensor]:
        """Return crop k of an image, and its labels."""
        return self._augmented(self.dataset[index], index, k)

    def _augmented(self, sample: Sample, index: int, k: int) -> tuple[Tensor, Tensor]:
        with random_state(_SEED, index, k, _CROPS):
            return self.transform(*sample)


class ReplayStream(TrainingStream):
    """A training stream whose items are crops of a replay, and the teacher's answers if they are recorded.

    The images come in the order of :class:`TrainingStream`. In K passes over the images, each crop of an image is drawn
    once, in an order drawn from (seed, image). Item ``p`` is an image, labels, and for each feature of the answers its
    codes and its scales.

    Args:
        crops: The crops to draw from.
        seed: The seed of the run.
        answers: The recorded answers; None yields images and labels alone.
    """

    def __init__(self, crops: Crops, seed: int, answers: Answers | None = None) -> None:
        super().__init__(crops.dataset, crops.transform, seed)
        self.crops = crops
        self.answers = answers

    def drawn(self, position: int) -> tuple[int, int]:
        """Return the index of the image at a position of the run, and the number of its crop."""
        index, count = self.index(position), self.crops.count
        turn, place = divmod(position // len(self.dataset), count)
        order = np.random.default_rng((self.seed, index, turn, _DRAWS)).permutation(count)
        return index, int(order[place])

    def __getitem__(self, position: int) -> tuple[Tensor, ...]:  # type: ignore[override]
        index, k = self.drawn(position)
        image, labels = self.crops.crop(index, k)
        if self.answers is None:
            return image, labels
        row = index * self.crops.count + k
        self.answers.check_crop(row, image, self.dataset.name(index))
        return image, labels, *self.answers.read(row)
