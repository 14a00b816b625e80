"""Files of coordinates, a format each.

A writer takes a path in a directory that is there, and what to write. The file is whole or not
there.
"""

from collections.abc import Callable
from pathlib import Path

from picket_gpu.particles.particles import Particles
from picket_gpu.particles.writers.cmm import write_cmm
from picket_gpu.particles.writers.copick import write_copick
from picket_gpu.particles.writers.csv import write_csv
from picket_gpu.particles.writers.star import write_star
from picket_gpu.particles.writers.yaml import write_yaml

# By the kinds that `TomogramFiles.particles` has.
WRITERS: dict[str, Callable[[Path, Particles], None]] = {
    "csv": write_csv,
    "star": write_star,
    "cmm": write_cmm,
    "yaml": write_yaml,
    "copick": write_copick,
}
