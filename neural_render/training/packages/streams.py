"""Whole numbers as compressed bytes and back; unpacking never takes more memory than was stated.

A number k becomes the symbol ``2 |k| - (k > 0)``, so that small ones have few high bits: in one
plane of bytes where all symbols are below 256, else in two, all low bytes before all high ones.
The planes are one zlib stream (RFC 1950), whose checksum tells damage.
"""

import zlib

import numpy as np
from jaxtyping import Int32, UInt8

LARGEST = (1 << 15) - 1  # the largest number that two planes hold
MOST_PER_BYTE = 1032  # no deflate stream unpacks to more (RFC 1951: 258 bytes for two bits)
STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY)


def packed_numbers(numbers: Int32[np.ndarray, " numbers"]) -> tuple[bytes, int]:
    """The stream of ``numbers``, of which none exceeds `LARGEST`, and its number of planes."""
    symbols = (2 * np.abs(numbers) - (numbers > 0)).astype("<u2")
    planes = 1 + bool(symbols.size and symbols.max() > 255)
    low_high = symbols.view(np.uint8).reshape(-1, 2)[:, :planes]
    return smallest_stream(np.ascontiguousarray(low_high.T).tobytes()), planes


def unpacked_numbers(stream: bytes, count: int, planes: int) -> Int32[np.ndarray, " numbers"]:
    """The ``count`` numbers of a stream of ``planes`` planes; ValueError if it holds others."""
    parts = unpacked(stream, count * planes).reshape(planes, count)
    symbols = parts[0].astype(np.int32)
    if planes > 1:
        symbols |= parts[1].astype(np.int32) << 8
    size = (symbols + 1) >> 1
    return np.where(symbols & 1, size, -size)


def smallest_stream(data: bytes) -> bytes:
    """``data`` compressed in whichever way is the smallest.

    Where hardly any bytes repeat, Huffman codes alone are both smaller and quicker.
    """

    def compressed(strategy: int) -> bytes:
        packer = zlib.compressobj(level=9, strategy=strategy)
        return packer.compress(data) + packer.flush()

    return min(map(compressed, STRATEGIES), key=len)


def unpacked(stream: bytes, size: int) -> UInt8[np.ndarray, " bytes"]:
    """The ``size`` bytes of a stream; ValueError if it is damaged or holds fewer or more."""
    if size > MOST_PER_BYTE * len(stream):
        raise ValueError(f"{len(stream)} bytes are said to unpack to {size}, which they cannot")
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(stream, size + 1)
    except zlib.error as error:
        raise ValueError(f"a compressed part is damaged ({error})") from error
    if len(data) != size or not unpacker.eof or unpacker.unused_data:
        raise ValueError(f"a compressed part does not hold the {size} bytes that it should")
    return np.frombuffer(data, dtype=np.uint8)
