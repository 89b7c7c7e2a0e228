"""Image and masks together, guided by maps of superpixels (V2UM2I)."""
