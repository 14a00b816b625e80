"""What a compiled CUDA module says of its kernels: an ELF file with sections of NVIDIA's.

Records of `.nv.info` as in cuobjdump's listing: format, attribute, length, then for formats with a
value the number of a symbol and the value.
"""

import struct

FRAME_SIZE = 0x11  # bytes of local memory a thread: arrays and registers that were spilled
WITH_VALUE = 4


def local_bytes(cubin: bytes) -> dict[str, int]:
    """Local memory of each function, in bytes a thread."""
    (table,) = struct.unpack_from("<Q", cubin, 0x28)
    size, count, names = struct.unpack_from("<HHH", cubin, 0x3A)
    headers = [struct.unpack_from("<IIQQQQIIQQ", cubin, table + i * size) for i in range(count)]

    def text(strings: int, offset: int) -> str:
        begin = headers[strings][4] + offset
        return cubin[begin : cubin.index(b"\0", begin)].decode()

    (symbols,) = (header for header in headers if header[1] == 2)
    (info,) = (header for header in headers if text(names, header[0]) == ".nv.info")
    found, place = {}, info[4]
    while place < info[4] + info[5]:
        kind, attribute, length = struct.unpack_from("<BBH", cubin, place)
        if (kind, attribute) == (WITH_VALUE, FRAME_SIZE):
            number, value = struct.unpack_from("<II", cubin, place + 4)
            (name,) = struct.unpack_from("<I", cubin, symbols[4] + 24 * number)
            found[text(symbols[6], name)] = value
        place += 4 + (length if kind == WITH_VALUE else 0)
    return found
