"""Reverse-mode differentiation of ONNX graphs, with one gradient rule per operator in `rules`."""
