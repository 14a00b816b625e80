"""Fuzz parameter files: ``python tests/fuzz/fuzz_yaml.py CORPUS -max_total_time=SECONDS``."""

import sys

import atheris

with atheris.instrument_imports(include=["picket_gpu", "yaml"]):
    from checks import check_yaml

atheris.Setup(sys.argv, check_yaml)
atheris.Fuzz()
