"""Packages that only seem to be installed: their metadata and lists of files."""

from __future__ import annotations

from pathlib import Path


def fake_package(folder: Path, name: str, version: str) -> None:
    """Write the metadata of a package.

    Args:
        folder: The folder that Python searches.
        name: The name of the package.
        version: The version.
    """
    own = ("onnxruntime-extensions", "onnxruntime-ep", "onnxruntime-genai")
    family = "cv2" if name.startswith("opencv") else "onnxruntime"
    inside = name.replace("-", "_") if name.startswith(own) else family
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text(f"{inside}/__init__.py,,\n{info.name}/RECORD,,\n")
