"""Local-discrimination features: pasted copies, one-shot landmarks, unsupervised segmentation, and what they cost."""
