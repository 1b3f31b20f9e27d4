"""Confidence intervals, significance tests and rank correlations of dataset scores, on arrays.

A dataset score is a function of means over the images (ADCC: of three means). Such a function
takes the means of R resampled datasets at once, [K, R], and returns all R scores.
"""
