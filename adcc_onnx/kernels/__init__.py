"""Compiled (Numba) kernels: arrays in, arrays out.

They read float32 values, sum in float64 and run in parallel over the images of a batch.
"""
