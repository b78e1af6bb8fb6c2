"""Matrices of a safetensors file to int8, symmetric, a scale for each row, by the usual lines of numpy.

python3 numpy_int8.py in.safetensors out.safetensors
"""

import json
import struct
import sys

import numpy as np
import peak  # noqa: F401

source, target = sys.argv[1:]

with open(source, "rb") as file:
    (length,) = struct.unpack("<Q", file.read(8))
    tensors = json.loads(file.read(length))
tensors.pop("__metadata__", None)

header = {}
end = 0


def put(name, dtype, shape, size):
    global end
    header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
    end += size


for name, tensor in tensors.items():
    shape = tensor["shape"]
    elements = int(np.prod(shape))
    if len(shape) == 2:
        put(name, "I8", shape, elements)
        put(name + ".scale", "F32", [shape[0], 1], 4 * shape[0])
    else:
        put(name, "F32", shape, 4 * elements)

with open(target, "wb") as out:
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    out.write(struct.pack("<Q", len(text)) + text)
    for tensor in tensors.values():
        shape = tensor["shape"]
        start = 8 + length + tensor["data_offsets"][0]
        x = np.fromfile(source, np.float32, int(np.prod(shape)), offset=start).reshape(shape)
        if len(shape) == 2:
            scale = np.abs(x).max(axis=1, keepdims=True) / np.float32(127)
            q = np.clip(np.rint(x / scale), -127, 127).astype(np.int8)
            q.tofile(out)
            scale.tofile(out)
        else:
            x.tofile(out)
