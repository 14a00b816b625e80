"""From a parameter file, or a mapping like it, to a configuration."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from picket_gpu.config.faults import first_fault
from picket_gpu.config.inputs import MASKS, TomogramInput
from picket_gpu.config.lists import expanded
from picket_gpu.config.names import check_names
from picket_gpu.config.s1 import Copick, S1Config
from picket_gpu.config.yaml_file import read_yaml, scalar
from picket_gpu.errors import PicketError
from picket_gpu.files.masks import Mask
from picket_gpu.method.features import MODES
from picket_gpu.particles.settings import ParticleSettings

# What each part of a parameter file is made of, by the name that leads to it.
_MODELS = {
    "": S1Config,
    "inputs": TomogramInput,
    **dict.fromkeys(MASKS, Mask),
    "copick": Copick,
    "particles": ParticleSettings,
    **MODES,
}


def load_config(source: S1Config | Mapping[str, Any] | str | Path) -> S1Config:
    """Load and check a configuration.

    Patterns and STAR files in ``inputs`` are replaced by the tomograms that they list.

    Args:
        source: path of a YAML file, a mapping with its keys, or an `S1Config`.

    Raises:
        PicketError: the file cannot be read, is not YAML or has invalid keys or values, a pattern
            or STAR file lists no tomogram, or a name cannot stand in lists of particles.
    """
    if isinstance(source, S1Config):
        return _with_all_inputs(source, "")
    where = "" if isinstance(source, Mapping) else f"{source}: "
    content = source if isinstance(source, Mapping) else read_yaml(Path(source))
    try:
        config = S1Config.model_validate(content)
    except ValidationError as error:
        written = None if isinstance(source, Mapping) else partial(scalar, Path(source))
        raise PicketError(where + first_fault(error, _MODELS, written)) from None
    return _with_all_inputs(config, where)


def _with_all_inputs(config: S1Config, where: str) -> S1Config:
    """The configuration with each tomogram that its inputs stand for, checked as such."""
    try:
        entries, notes = expanded(config.inputs)
        if entries != config.inputs:
            config = S1Config.model_validate({**dict(config), "inputs": entries}).with_notes(notes)
        check_names(config)
    except ValidationError as error:
        raise PicketError(where + first_fault(error, _MODELS)) from None
    except PicketError as error:  # of a key, or of a star file
        key = str(error).startswith("inputs[")
        raise PicketError(where + str(error) if key else str(error)) from None
    return config
