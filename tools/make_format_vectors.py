#!/usr/bin/env python3
"""Makes test/data/formats: random blocks of every tensor format and what gguf-py turns them into.

    make_format_vectors.py FOLDER        (needs the PyPI packages gguf and numpy)

<NAME>.in holds the raw blocks, <NAME>.f32 the little-endian floats. Scales are finite halves, subnormal ones and both
signs among them; quants are all bytes.
"""
import sys
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as T, dequantize

# offsets of the half-precision scales in a block, bytes per block, elements per block
FORMATS = {
    "F32": ([], 4, 1), "F16": ([0], 2, 1), "BF16": ([], 2, 1),
    "Q4_0": ([0], 18, 32), "Q4_1": ([0, 2], 20, 32), "Q5_0": ([0], 22, 32), "Q5_1": ([0, 2], 24, 32),
    "Q8_0": ([0], 34, 32), "Q4_K": ([0, 2], 144, 256), "Q5_K": ([0, 2], 176, 256), "Q6_K": ([208], 210, 256),
}


def main():
    folder = Path(sys.argv[1])
    rng = np.random.default_rng(20)
    for name, (scales, size, elements) in FORMATS.items():
        blocks = rng.integers(0, 256, (1024 // elements, size), dtype=np.uint8)
        for at in scales:
            half = (rng.normal(0, 1, len(blocks)) * 10.0 ** rng.integers(-7, 4, len(blocks))).astype(np.float16)
            blocks[:, at:at + 2] = half.view(np.uint8).reshape(-1, 2)
        if name in ("F32", "BF16"):
            floats = (rng.normal(0, 1, len(blocks)) * 10.0 ** rng.integers(-38, 38, len(blocks))).astype(np.float32)
            blocks = floats.view(np.uint8).reshape(-1, 4)[:, 4 - size:].copy()
        out = dequantize(blocks.reshape(1, -1), T[name]).astype(np.float32)
        assert out.size == 1024 and np.isfinite(out).all()
        (folder / f"{name}.in").write_bytes(blocks.tobytes())
        (folder / f"{name}.f32").write_bytes(out.tobytes())


main()
