"""Features that are given, and a root that does not depend on the basis."""

import numpy as np

from picket_gpu.method.streams import Kept, RawFeatures, Tally


class GivenFeatures(RawFeatures):
    """A stream whose windows have the features given, in tiles of ``tile_windows``."""

    def __init__(self, backend, features, tile_windows=700):
        self.backend = backend
        self.count = len(features)
        self.tile_windows = tile_windows
        self.tally = Tally()
        self.tiles = [
            range(i, min(i + tile_windows, self.count)) for i in range(0, self.count, tile_windows)
        ]
        self.kept = Kept(backend.xp, self.begins, 0)
        self._features = features
        ones = np.ones((self.count, 1))
        self._x = np.ascontiguousarray(np.hstack([features, ones]).T.astype(np.float32))

    def compute(self, number, scratch):
        tile = self.tiles[number]
        return np.ascontiguousarray(self._x[:, tile.start : tile.stop])

    def choose(self, places):
        return GivenFeatures(self.backend, self._features[places])


def symmetric_inverse(matrix):
    inverse = np.linalg.inv(matrix)
    return (inverse + inverse.T) / 2
