"""k-means in batches (Sculley, 2010): pseudo-labels out of features that need not fit into memory at once."""

import math

import torch
from torch import Tensor


def kmeans(points: Tensor, clusters: int, *, steps: int = 200, batch: int = 8192, seed: int = 0) -> Tensor:
    """Centroids.

    Args:
        points: (points, width).
        clusters: how many.
        steps: batches, drawn at random.
        batch: points of one.
        seed: of all random choices.

    Returns:
        (clusters, width) float32.

    Raises:
        ValueError: fewer points than clusters.
    """
    if len(points) < clusters:
        raise ValueError(f"{len(points)} points for {clusters} clusters")
    generator = torch.Generator().manual_seed(seed)

    def draw(count: int) -> Tensor:
        if count >= len(points):
            return points.float()
        return points[torch.randint(len(points), (count,), generator=generator)].float()

    centroids = _spread(draw(max(batch, 4 * clusters)), clusters, generator)
    counts = torch.zeros(clusters)
    for step in range(steps):
        some = draw(batch)
        nearest = assign(some, centroids)
        hits = torch.bincount(nearest, minlength=clusters).float()
        sums = torch.zeros_like(centroids).index_add_(0, nearest, some)
        counts += hits
        hit = hits > 0
        # each centroid is the mean of all points that it ever got, as they come
        centroids[hit] += (sums[hit] - hits[hit, None] * centroids[hit]) / counts[hit, None]
        lost = counts < 0.01 * counts.mean()
        if step < steps // 2 and lost.any():  # start over where there are points
            centroids[lost] = some[torch.randint(len(some), (int(lost.sum()),), generator=generator)]
            counts[lost] = counts.median()
    return centroids


def assign(points: Tensor, centroids: Tensor, at_once: int = 1 << 16) -> Tensor:
    """(points,) number of each point's nearest centroid."""
    half = centroids.square().sum(1) / 2
    return torch.cat([(part.float() @ centroids.T - half).argmax(1) for part in torch.split(points, at_once)])


def _spread(points: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """Greedy k-means++: each drawn by distance from those before, the best of some draws."""
    chosen = [points[int(torch.randint(len(points), (1,), generator=generator))]]
    away = (points - chosen[0]).square().sum(1)
    tries = 2 + int(math.log(clusters))
    for _ in range(clusters - 1):
        chances = away if away.any() else torch.ones_like(away)  # fewer different points than clusters
        some = points[torch.multinomial(chances, tries, replacement=True, generator=generator)]
        left = torch.minimum(away, torch.cdist(some, points).square())  # (tries, points)
        best = int(left.sum(1).argmin())
        chosen.append(some[best])
        away = left[best]
    return torch.stack(chosen)
