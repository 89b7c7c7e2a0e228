"""Latent class optimisation on real radiographs: who sees the classes that were asked for, and at what cost."""
