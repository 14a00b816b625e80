"""The paper's method on arrays: prepare, windows, features, fit, label, and the memory they take.

Each feature mode is a file in `features`. Functions take plain arguments, no configuration, no
file and no page. May use `device`.
"""
