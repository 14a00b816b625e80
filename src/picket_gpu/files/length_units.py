"""Units of length as files name them."""

import re

_ANGSTROM = {
    **dict.fromkeys(("picometer", "pm"), 0.01),
    **dict.fromkeys(("angstrom", "ångström", "å", "a"), 1.0),
    **dict.fromkeys(("nanometer", "nm"), 10.0),
    **dict.fromkeys(("micrometer", "micron", "\u03bcm", "um"), 1e4),
    **dict.fromkeys(("millimeter", "mm"), 1e7),
    **dict.fromkeys(("centimeter", "cm"), 1e8),
    **dict.fromkeys(("meter", "m"), 1e10),
}


def angstrom_in(unit: object) -> float:
    r"""Angstrom in a unit by its name, plural or symbol; 0.0 if it is not known.

    ImageJ writes what is not ASCII as an escape, such as ``\u00B5m``.
    """
    name = re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), str(unit))
    name = name.strip().casefold()  # which makes one of both signs of micro, and of angstrom
    return _ANGSTROM.get(name.replace("metre", "meter").removesuffix("s"), 0.0)
