"""Images on their way to the model: sources, decoding, annotations, preprocessing, model cards."""
