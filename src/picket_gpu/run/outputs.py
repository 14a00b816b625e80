"""Names of the files that a run writes, and checks that it can write them."""

import os
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from picket_gpu.config.names import RUN_NAME
from picket_gpu.config.s1 import S1Config
from picket_gpu.errors import PicketError
from picket_gpu.files.filenames import CopickNames, TomogramFiles
from picket_gpu.files.segmentation import Subject

ISOTROPIC = 0.01  # relative difference of voxel sizes


def files_of(config: S1Config, subject: Subject) -> TomogramFiles:
    """Names of the files of one tomogram's workflows.

    Raises:
        PicketError: copick cannot name them.
    """
    kinds: list[str] = list(config.save)
    sizes = subject.voxel_size
    isotropic = subject.is_scaled and max(sizes) - min(sizes) <= ISOTROPIC * max(sizes)
    if "copick" in kinds and not isotropic:
        raise PicketError(
            f"{subject.tomogram}: copick needs the same voxel size on all axes (got {sizes}, z "
            "y x); set voxel_size"
        )
    copick = None
    if isotropic and RUN_NAME.fullmatch(subject.run_name):
        names = config.copick
        copick = CopickNames(
            project=names.directory or config.directory / "copick",
            run=subject.run_name,
            voxel_size=sizes[2],
            user=names.user,
            session=names.session,
            object=names.object,
        )
    return TomogramFiles(config.directory, subject.index, kinds, copick, config.scored)


def check_outputs(config: S1Config) -> None:
    """Check that files can be written and that the packages for them are installed.

    Raises:
        PicketError: the directory is not writable, a package is missing, or an input would be
            replaced.
    """
    check_directory(config.directory)
    _check_packages(config)
    _check_inputs(config)


def _check_inputs(config: S1Config) -> None:
    """Check that no tomogram or mask has the place of a segmentation, even of a kind not wanted."""
    directory = config.directory.resolve()
    inputs = {
        one.name: one
        for entry in config.inputs
        for one in (entry.tomogram, *(mask.file for mask in entry.own_masks))
        if isinstance(one, Path) and one.parent.resolve() == directory
    }
    if not inputs:
        return
    for index in range(len(config.inputs)):
        for workflow in config.workflows:
            for path in TomogramFiles(config.directory, index, []).others(*workflow):
                if path.name in inputs:
                    raise PicketError(
                        f"{inputs[path.name]}: is an input, and the run would replace it by a "
                        f"segmentation; change dataset_name, or move the file"
                    )


def _check_packages(config: S1Config) -> None:
    """Check that the packages for the outputs are installed."""
    for kind in ("zarr", "copick"):
        # Version 2 has other functions.
        if kind in config.save and not (find_spec("zarr") and int(version("zarr")[0]) >= 3):
            raise PicketError(f"save: {kind} needs Zarr 3; pip install -e '.[zarr]'")


def check_directory(directory: Path, key: str = "output_dir") -> None:
    """Check that files can be written to ``directory``, which need not exist yet.

    Raises:
        PicketError: it is not writable; the message begins with ``key``.
    """
    try:
        there = next(path for path in (directory, *directory.parents) if _is_there(path))
    except OSError as error:
        raise PicketError(
            f"{key}: {directory} cannot be made ({error.strerror}); choose another"
        ) from None
    if not there.is_dir():
        what = "a dangling link" if there.is_symlink() and not there.exists() else "a file"
        raise PicketError(f"{key}: {directory} cannot be made, {there} is {what}; choose another")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PicketError(f"{key}: {directory}: no permission to write in {there.absolute()}")


def _is_there(path: Path) -> bool:
    """Whether ``path`` exists, if only as a dangling link.

    Raises:
        OSError: the name is impossible.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
