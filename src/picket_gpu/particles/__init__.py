"""From segmentations to coordinates of particles.

Takes plain arrays and arguments: knows no configuration, no file and no page. May use `method`
(what labels mean) and `device`.
"""
