"""One run over many tomograms: what is planned, done, left and recorded; its workers.

A task is one tomogram; a step is a tomogram by a feature mode, or its particles. May use all other
wings; the front doors (`picket_gpu.pipeline`, the command line) start it.
"""
