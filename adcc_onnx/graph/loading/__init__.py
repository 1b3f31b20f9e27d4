"""Read and save ONNX files; check what a file claims before anything else relies on it."""
