"""The graph as an image classifier: image input, class scores, layers and their layouts."""
