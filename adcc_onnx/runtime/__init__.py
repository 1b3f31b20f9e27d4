"""Running models under onnxruntime: devices, sessions, batches."""
