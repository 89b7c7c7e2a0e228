"""The scan of outgoing headers: what identifies a person in a real file, and where such a value turns up again.

    real file      -> evidence.py: forms that each identifying value may take        -> fingerprints.py: keyed digests
    outgoing file  -> layout.py, material.py: what it says beyond the writer's template -> tokens.py: the same forms
    hit            =  a form that both have, or a place where the template has nothing (overlay, private tag, tail ...)

Out of scope, and said so in the finding: text burnt into the picture, values in the low bits of pixels, and values that
were encrypted or hashed with a secret.
"""
