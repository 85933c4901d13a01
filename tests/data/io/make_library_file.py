"""Writes library.safetensors with the reference implementation: one small tensor of every dtype that reno reads.

    pip install safetensors==0.4.5 numpy ml_dtypes
    python make_library_file.py
"""

import ml_dtypes
import numpy as np
from safetensors import serialize_file

DTYPES = {
    "float64": np.float64, "float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16,
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn, "float8_e5m2": ml_dtypes.float8_e5m2,
    "int64": np.int64, "int32": np.int32, "int16": np.int16, "int8": np.int8, "uint8": np.uint8, "bool": np.bool_,
}


def entry(array, dtype):
    return {"dtype": dtype, "shape": list(array.shape), "data": array.tobytes()}


tensors = {f"ramp.{name}": entry(np.arange(6).reshape(2, 3).astype(dtype), name) for name, dtype in DTYPES.items()}
tensors["scalar"] = entry(np.array(2.5, np.float32), "float32")
tensors["empty"] = entry(np.zeros((0, 4), np.float32), "float32")
tensors["größe"] = entry(np.array([1.0, -2.0], np.float16), "float16")
serialize_file(tensors, "library.safetensors", {"format": "pt", "note": "made by the reference implementation"})
