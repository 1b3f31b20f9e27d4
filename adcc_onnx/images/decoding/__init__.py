"""Decoding of untrusted image files: reading, completeness checks, reduced-size JPEG decoding."""
