"""Content and style apart: a conditional GAN with two inferred codes, kept from each other (DRAI)."""
