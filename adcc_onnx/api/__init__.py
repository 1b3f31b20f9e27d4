"""The functions of the Python API; the command line is a shell over them."""

from adcc_onnx.report.notebook import register_displays

register_displays()
