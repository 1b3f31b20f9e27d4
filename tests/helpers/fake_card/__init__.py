"""A CUDA card that computes nothing, for tests of the CUDA path on machines without a GPU."""
