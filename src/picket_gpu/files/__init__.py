"""Bytes to arrays and back: readers, writers, names of files, and how each was made.

A format is a file in `readers` or `writers`. Takes what it writes: knows no configuration and no
run. May use `method` (what labels mean) and `device`.
"""
