"""A progressive GAN of image and masks together, and the latent class optimisation that gives its images their classes."""
