"""The plan of an evaluation, its batches, and the pipeline from images to stored scores."""
