"""ONNX Runtime's own tool: python3 onnxruntime_dynamic.py in.onnx out.onnx"""

import sys

import peak  # noqa: F401
from onnxruntime.quantization import QuantType, quantize_dynamic

quantize_dynamic(sys.argv[1], sys.argv[2], weight_type=QuantType.QInt8)
