"""Pages and pictures to choose segmentations by; `python -m picket_gpu.report` makes them again.

What they say is collected while labels are in memory. Knows no configuration and no run. May use
`files`, `method` and `device`.
"""
