"""What a file is, by its first bytes, whatever its name."""

START = 1024  # bytes that are enough to tell
MAP = slice(208, 211)  # has MAP in an MRC file
_CONVERT, _UNPACK = "convert it to MRC", "unpack it and name the volume in it"
_HDF5, _TIFF, _NPY, _ZIP = "an HDF5 file", "a TIFF file", "a NumPy file", "a zip archive"
# Offset, bytes there, what the file is, and the ending of its readers.
_READ = (
    (0, b"\x89HDF\r\n\x1a\n", _HDF5, ".h5"),
    (0, b"\x93NUMPY", _NPY, ".npy"),
    (0, b"PK\3\4", _ZIP, ".zip"),
    (0, b"PK\5\6", _ZIP, ".zip"),  # an empty one
    *((0, magic, _TIFF, ".tif") for magic in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
)
# The same, and what to do with it.
_NOT_READ = (
    (0, b"\xfd7zXZ\0", "a file compressed by xz", "decompress it"),
    (0, b"\x28\xb5\x2f\xfd", "a file compressed by zstd", "decompress it"),
    (0, b"\x04\x22\x4d\x18", "a file compressed by lz4", "decompress it"),
    (0, b"\x1f\x9d", "a file compressed by compress", "decompress it"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (344, b"n+1\0", "a NIfTI file", _CONVERT),
    (344, b"ni1\0", "the header of a NIfTI file", _CONVERT),
    (4, b"n+2\0", "a NIfTI file", _CONVERT),
    (0, b"NRRD000", "an NRRD file", _CONVERT),
    (0, b"# AmiraMesh", "an Amira file", _CONVERT),
    (0, b"# Avizo", "an Avizo file", _CONVERT),
    (0, b"MATLAB 5.0", "a MATLAB file", _CONVERT),
    (128, b"DICM", "a DICOM file", _CONVERT),
    (0, b"\x89PNG", "a picture", "name the volume itself"),
    (0, b"\xff\xd8\xff", "a picture", "name the volume itself"),
)


def ending_of(start: bytes) -> str | None:
    """The ending by which a file of this content is read, such as ``.h5``; None if unclear."""
    return next((ending for at, magic, _, ending in _READ if start[at:].startswith(magic)), None)


def described(start: bytes) -> str | None:
    """What a file of another format is and what to do with it; None for unknown content."""
    for at, magic, what, remedy in _NOT_READ:
        if start[at:].startswith(magic):
            return f"{what}; {remedy}"
    if not _is_text(start):
        return None
    if b'"pickable_objects"' in start or b'"config_type"' in start:
        return (
            "the configuration of a copick project; name a tomogram of the project, such as "
            "ExperimentRuns/TS_01/VoxelSpacing10.000/wbp.zarr"
        )
    return "text; check the path and the extension"


def named(start: bytes) -> str | None:
    """What a file of any format but MRC is; None for unknown content, and text."""
    known = (*_READ, *_NOT_READ)
    return next((what for at, magic, what, _ in known if start[at:].startswith(magic)), None)


def _is_text(start: bytes) -> bool:
    text = start.decode("utf-8", errors="replace").rstrip("\ufffd")  # the last letter may be cut
    return bool(text) and all(letter.isprintable() or letter in "\t\r\n\f\ufeff" for letter in text)
