"""KD, GSKD, IFVD and CIRKD the way their authors' code computes them: image by image, pair by pair, class by class.

Written from descriptions of that code (CIRKD's, as of 2022, and GSKD's), for a comparison of cost. The departures make
the losses comparable: the discriminator, which runs in every step of IFVD there, is left out; GSKD passes the gradient
that the code cuts, reads the right pixels, and counts every image. GSKD's projector, which ours does not have, stays.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VOID = 255


def kd(student: Tensor, teacher: Tensor) -> Tensor:
    """Return KL(teacher || student) at each position, the mean over all positions, void ones included."""
    s, t = (x.permute(0, 2, 3, 1).contiguous().view(-1, x.shape[1]) for x in (student, teacher))
    return F.kl_div(F.log_softmax(s, dim=1), F.softmax(t, dim=1), reduction="batchmean")


def at_stride(labels: Tensor, features: Tensor) -> Tensor:
    return F.interpolate(labels[:, None].float(), features.shape[2:], mode="nearest")[:, 0].long()


def projector(student: int, teacher: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(student, teacher, 1, bias=False),
        nn.BatchNorm2d(teacher),
        nn.ReLU(),
        nn.Conv2d(teacher, teacher, 1, bias=False),
    )


def ifvd(student: Tensor, teacher: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return the squared difference of the cosines to the class centers; a full-size map of centers for each class."""
    small = at_stride(labels, student)
    cosines = []
    for features in (student, teacher):
        centers = features.clone()
        for number in range(classes):
            mask = (small == number)[:, None].float().expand_as(features)
            total = (mask * features).sum(dim=(2, 3), keepdim=True)
            mean = total / (mask.sum(dim=(2, 3), keepdim=True) + 1e-6)
            centers = (1 - mask) * centers + mask * mean
        cosines.append(F.cosine_similarity(features, centers, dim=1))
    return (cosines[0] - cosines[1]).square().mean()


class GSKD(nn.Module):
    """A loop over images and classes draws the positions; a loop over groups compares them."""

    def __init__(self, student: int, teacher: int, samples: int = 16, stride: int = 8) -> None:
        super().__init__()
        self.projector = projector(student, teacher)
        self.samples = samples
        self.stride = stride

    def forward(self, student: Tensor, teacher: Tensor, teacher_logits: Tensor, labels: Tensor) -> Tensor:
        small = at_stride(labels, student)
        correct = teacher_logits.argmax(dim=1) == small
        projected = F.normalize(self.projector(student), dim=1).permute(0, 2, 3, 1).flatten(1, 2)
        target = F.normalize(teacher, dim=1).permute(0, 2, 3, 1).flatten(1, 2)
        total = student.new_zeros(())
        for image in range(len(student)):
            s, t = self._sampled(projected[image], target[image], small[image].flatten(), correct[image].flatten())
            if len(s):
                total = total + self._image(s, t)
        return total / len(student)

    def _sampled(self, student: Tensor, teacher: Tensor, labels: Tensor, correct: Tensor) -> tuple[Tensor, Tensor]:
        s, t, labels = student[correct], teacher[correct], labels[correct]
        ours, theirs = [s[:0]], [t[:0]]
        for number in torch.unique(labels):
            own = (labels == number).nonzero().flatten()
            if len(own) < 2:
                continue
            chosen = own[torch.randperm(len(own), device=own.device)[: self.samples]]
            if len(chosen) < self.samples:
                others = (labels != number).nonzero().flatten()
                order = torch.randperm(len(others), device=own.device)
                chosen = torch.cat([chosen, others[order[: self.samples - len(chosen)]]])
            ours.append(s[chosen])
            theirs.append(t[chosen])
        return torch.cat(ours), torch.cat(theirs)

    def _image(self, student: Tensor, teacher: Tensor) -> Tensor:
        s, t = student @ student.T, teacher @ teacher.T
        order = torch.rand(s.shape, device=s.device).argsort(dim=1)
        s, t = s.gather(1, order), t.gather(1, order)
        groups = max(1, len(s) // self.stride)
        total = s.new_zeros(())
        for group in range(groups):
            columns = slice(group * self.stride, (group + 1) * self.stride)
            s_group, t_group = s[:, columns].flatten(), t[:, columns].flatten()
            total = total + F.kl_div(F.log_softmax(s_group, dim=0), F.softmax(t_group, dim=0), reduction="sum")
        return total / groups


class CIRKD(nn.Module):
    """Similarities of all pairs of images, each pair twice and all maps held, and a memory filled class by class."""

    def __init__(
        self, student: int, teacher: int, classes: int, pixel_size: int = 20_000, region_size: int = 2_000
    ) -> None:
        super().__init__()
        self.projector = projector(student, teacher)
        self.classes = classes
        for name, size in (("pixel", pixel_size), ("region", region_size)):
            queue = F.normalize(torch.randn(classes, size, teacher), dim=2)
            self.register_buffer(f"{name}_queue", queue)
            self.register_buffer(f"{name}_next", torch.zeros(classes, dtype=torch.long))

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        return self.minibatch(student, teacher) + 0.1 * self.memory(student, teacher, labels)

    @staticmethod
    def minibatch(student: Tensor, teacher: Tensor) -> Tensor:
        """Return the mean over all ordered pairs of images of the divergence of their similarities."""
        s, t = (F.normalize(x, dim=1).flatten(2) for x in (student, teacher))
        count = len(s)
        ours = [[s[i].T @ s[j] / 0.1 for j in range(count)] for i in range(count)]
        theirs = [[t[i].T @ t[j] / 0.1 for j in range(count)] for i in range(count)]
        total = student.new_zeros(())
        for i in range(count):
            for j in range(count):
                log_p, q = F.log_softmax(ours[i][j], dim=1), F.softmax(theirs[i][j], dim=1)
                total = total + F.kl_div(log_p, q, reduction="batchmean")
        return total / count**2

    def memory(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        """Return the divergence of the similarities to pixels and to regions of earlier batches."""
        small = at_stride(labels, student)
        s = F.normalize(self.projector(student), dim=1).permute(0, 2, 3, 1).flatten(0, 2)
        t = F.normalize(teacher, dim=1)
        self._remember(t, small)
        valid = small.flatten() != VOID
        s, t = s[valid], t.permute(0, 2, 3, 1).flatten(0, 2)[valid]
        total = student.new_zeros(())
        for queue, contrast in ((self.pixel_queue, 4096), (self.region_queue, 1024)):
            index = torch.randperm(queue.shape[1], device=queue.device)[: contrast // self.classes + 1]
            columns = queue[:, index].flatten(0, 1).T
            log_p, q = F.log_softmax(s @ columns / 0.1, dim=1), F.softmax(t @ columns / 0.1, dim=1)
            total = total + F.kl_div(log_p, q, reduction="batchmean")
        return total

    @torch.no_grad()
    def _remember(self, teacher: Tensor, labels: Tensor) -> None:
        for features, image in zip(teacher.flatten(2), labels.flatten(1), strict=True):
            for number in torch.unique(image).tolist():
                if number == VOID:
                    continue
                own = (image == number).nonzero().flatten()
                region = F.normalize(features[:, own].mean(dim=1), dim=0)
                self._enqueue(self.region_queue, self.region_next, number, region[None])
                chosen = own[torch.randperm(len(own), device=own.device)[:16]]
                self._enqueue(self.pixel_queue, self.pixel_next, number, features[:, chosen].T)

    @staticmethod
    def _enqueue(queue: Tensor, following: Tensor, number: int, entries: Tensor) -> None:
        first, count, size = int(following[number]), len(entries), queue.shape[1]
        if first + count >= size:
            queue[number, size - count :] = entries
            following[number] = 0
        else:
            queue[number, first : first + count] = entries
            following[number] += count
