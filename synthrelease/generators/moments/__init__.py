"""A closed-form generator: class-conditional Gaussians over a public cosine basis."""
