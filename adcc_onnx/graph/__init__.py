"""Reading, differentiating and rewriting ONNX models: ONNX in, ONNX out.

Nothing in this package runs a model.
"""
