"""Bytes to arrays and back: tomograms, segmentations, and the names of all files.

`readers` has a module for each format of tomograms, `formats` one for each format of segmentations.
This wing knows no configuration and no run. It may use `method` (the meaning of labels) and
`device`.
"""
