"""A threshold between heights of background and of particles."""

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
