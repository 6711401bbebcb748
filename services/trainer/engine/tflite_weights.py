"""Reads the convolutions' weights out of a (quantised) TFLite file.

Owns the way from TFLite's layout to Keras'. Needs the flatbuffer schema alone: no interpreter, no TensorFlow.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

Array = npt.NDArray[np.float32]

_CONVOLUTIONS = (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.DEPTHWISE_CONV_2D)
_NUMPY = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.UINT8: np.uint8,
    schema.TensorType.INT8: np.int8,
    schema.TensorType.INT32: np.int32,
}


def read_convolutions(path: Path) -> list[tuple[Array, Array]]:
    """(kernel, bias) of each convolution in the order of execution, dequantised.

    Kernels are laid out as in Keras: [height, width, in, out], depthwise ones [height, width, channels, 1]. Raises
    ValueError if the file is no TFLite model.
    """
    data = path.read_bytes()
    if data[4:8] != b"TFL3":
        raise ValueError("not a TFLite model")
    try:
        model = schema.ModelT.InitFromPackedBuf(data, 0)
        graph = model.subgraphs[0]
        found = []
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            if max(code.builtinCode, code.deprecatedBuiltinCode) in _CONVOLUTIONS:
                kernel, bias = (_tensor(model, graph.tensors[index]) for index in operator.inputs[1:3])
                found.append((np.ascontiguousarray(kernel.transpose(1, 2, 3, 0)), bias))
    except (struct.error, IndexError, TypeError, AttributeError, KeyError, OverflowError) as error:
        raise ValueError(f"damaged TFLite model: {error}") from error
    return found


def _tensor(model: Any, tensor: Any) -> Array:
    raw = np.frombuffer(model.buffers[tensor.buffer].data.tobytes(), _NUMPY[tensor.type]).reshape(tensor.shape)
    values: Array = raw.astype(np.float32)
    quantization = tensor.quantization
    if quantization is None or quantization.scale is None:
        return values
    if len(quantization.scale) != 1:
        raise ValueError("weights quantised per channel aren't supported")
    scaled: Array = ((values - np.float32(quantization.zeroPoint[0])) * np.float32(quantization.scale[0])).astype(
        np.float32
    )
    return scaled
