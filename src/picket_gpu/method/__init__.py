"""The paper's method on arrays: prepare, windows, features, fit, label, and the memory it takes.

A feature mode is a file in `features`, a clusterer one in `clustering`. Takes plain arguments:
knows no configuration, no file and no page. May use `device`.
"""
