"""Fuzz tomograms: ``python tests/fuzz/fuzz_mrc.py CORPUS -max_total_time=SECONDS``."""

import sys

import atheris

with atheris.instrument_imports(include=["picket_gpu", "mrcfile", "gzip"]):
    from checks import check_mrc

atheris.Setup(sys.argv, check_mrc)
atheris.Fuzz()
