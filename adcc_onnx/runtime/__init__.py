"""Runs ONNX models with onnxruntime: devices, sessions, memory, run settings and autotuning."""
