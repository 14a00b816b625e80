"""The threshold between two classes of heights, and how well it parts them."""

import numpy as np


def otsu(heights: np.ndarray) -> float:
    """The threshold between two classes of heights whose variance between them is largest.

    Otsu, IEEE Trans. Syst. Man Cybern. 9, 62-66, 1979, over all splits rather than a histogram's.

    Args:
        heights: (m,), in any order.

    Returns:
        The middle between the two classes' nearest heights; where all are alike, that height; 0
        where there are none.
    """
    ordered = np.sort(heights.astype(np.float64))
    if len(ordered) == 0:
        return 0.0
    if ordered[0] == ordered[-1]:
        return float(ordered[0])
    below = np.arange(1, len(ordered))
    above = len(ordered) - below
    sums = np.cumsum(ordered)
    difference = (sums[-1] - sums[:-1]) / above - sums[:-1] / below
    split = int(np.argmax(below * above * difference**2))
    return float((ordered[split] + ordered[split + 1]) / 2)


def zero_and_unit(heights: np.ndarray) -> tuple[float, float]:
    """Units in which `otsu` of heights is 0, and the means of its two classes are 2 apart.

    Where all are alike, the lower class is taken to be at 0.

    Returns:
        What to subtract from heights, and what to divide by.
    """
    threshold = otsu(heights)
    means = [float(part.mean()) if len(part) else 0.0 for part in _classes(heights, threshold)]
    return threshold, (means[1] - means[0]) / 2 or 1.0


def separation(heights: np.ndarray, threshold: float) -> float | None:
    """Share of the variance of heights that lies between two classes (Otsu 1979); None for one."""
    below, above = _classes(heights, threshold)
    if not (len(below) and len(above)):
        return None
    between = len(below) * len(above) * ((above.mean() - below.mean()) / len(heights)) ** 2
    return float(between / heights.var())


def _classes(heights: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Heights below the threshold, and the others."""
    above = heights >= threshold
    return heights[~above], heights[above]
