"""How two images are compared: descriptors, template search, nearest neighbours and a named feature extractor."""
