"""ONNX in, ONNX out: reading, differentiating and rewriting models. Nothing here runs a model."""
