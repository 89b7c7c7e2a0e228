"""A class-conditional diffusion model of image and masks together."""
