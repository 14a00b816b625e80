"""Shim until the formats are merged."""

from picket_gpu.files.provenance import Provenance, read_provenance
from picket_gpu.files.read_segmentation import *  # noqa
from picket_gpu.files.read_segmentation import read_attributes as _read
from picket_gpu.files.write_segmentation import write_segmentation as _write

_N = ("fingerprint", "share_of_label_1", "iterations", "converged", "time_taken_for_s1")


def read_own_attributes(path):
    told = read_provenance(path)
    return None if told is None else told.attributes


def read_attributes(path):
    return _read(path) if path.suffix != ".mrc" else (read_own_attributes(path) or {})


def write_segmentation(files, workflow, labels, scores, header, attributes):
    p = Provenance(*(attributes[n] for n in _N))
    _write(files, workflow, labels, scores, header, attributes, p)
