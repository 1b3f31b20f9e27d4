"""How sure the figures of a data set are: arrays in, arrays out.

A figure of a data set is a function of means over its images (ADCC: of three). Such a function
takes the means of R data sets at once, [K, R], so that resampled ones cost one call.
"""
