"""The functions of the Python API; the command line is a shell over them."""
