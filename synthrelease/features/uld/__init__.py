"""Unsupervised local discrimination (ULD): one unit vector for every pixel, learned from images alone.

Two views of an image are cut into cells; a cell of one view must be told from all other cells by its partner in the
other view (patch discrimination). A second stage groups pixels into clusters that mean the same in every image (region
discrimination). Nobody labels anything.

Two encoders with opposite roles come out of it, and neither can do the other's work:

- ``landmarks``: the same vector for the same anatomy in *different* people; finds points and regions, knows no person.
- ``copies``: strictly local, a different vector for the same place in different people; finds pasted tissue.

Source: Chen et al., "Unsupervised local discrimination for medical images", arXiv 2108.09440 (TPAMI 2023), and the
authors' public code for constants. Where the published form does not carry to a few hundred small radiographs, the
default differs (`within`: negatives from one image, views that differ in geometry); the published form is `paper`.
"""
