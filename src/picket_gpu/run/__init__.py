"""One run over many tomograms: what is planned, done, left and recorded; its workers.

Its unit of work is a task: one tomogram by one feature mode. May use all other wings; the front
doors (`picket_gpu.pipeline`, the command line) start it.
"""
