"""A reader study: people look at real and synthetic images, blinded, and say which is which.

drawing.py       which images, in which order, which twice
grey.py          pixel values of both kinds on one scale, so that their grain tells nothing
series.py        one DICOM file a case, with a header that tells nothing
sheet.py         what a reader fills in: CSV, and a page to print
key.py           what each case was; sealed apart from the series
equivalence.py   whether a share of right answers is that of guessing, and how many answers that takes
agreement.py     whether readers agree with each other
scoring.py       the answers against the key
text.py          the result for people

It measures looks, never privacy: an archive that nobody tells from real images may hold copies of them.
"""
