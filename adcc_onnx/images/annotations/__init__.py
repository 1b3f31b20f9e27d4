"""Ground-truth masks of objects: boxes, polygons, mask images and COCO files."""
