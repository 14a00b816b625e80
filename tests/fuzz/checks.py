"""What must hold for any bytes at all: the package takes them, or refuses them in one line."""

import tempfile
from pathlib import Path

from picket_gpu.config.load import load_config
from picket_gpu.errors import PicketError
from picket_gpu.files.tomogram import read_header, read_voxels

DIRECTORY = tempfile.TemporaryDirectory(prefix="picket_fuzz_")


def check_yaml(data: bytes) -> None:
    """As a parameter file."""
    path = Path(DIRECTORY.name, "params.yaml")
    path.write_bytes(data)
    try:
        load_config(path)
    except PicketError as error:
        check_message(str(error), str(path))


def check_mrc(data: bytes) -> None:
    """As a tomogram."""
    path = Path(DIRECTORY.name, "tomo.mrc")
    path.write_bytes(data)
    for read in (read_header, read_voxels):
        try:
            read(path)
        except PicketError as error:
            check_message(str(error), str(path))


def check_message(message: str, named: str = "") -> None:
    """One line, not too long, that names a thing."""
    assert message.isprintable(), message
    assert len(message) < 2000, message
    assert named in message, message
