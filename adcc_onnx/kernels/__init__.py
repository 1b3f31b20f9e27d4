"""Numba kernels: arrays in, arrays out; float32 values, float64 sums, parallel over images."""
