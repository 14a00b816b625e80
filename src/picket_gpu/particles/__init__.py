"""From segmentations, or the tomogram itself, to coordinates of particles.

Knows no configuration and no page; only `writers` knows files. May use `method` (what labels mean)
and `device`.
"""
