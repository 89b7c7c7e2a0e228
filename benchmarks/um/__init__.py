"""Few masks: what a segmenter learns from an archive whose masks were made with its images."""
