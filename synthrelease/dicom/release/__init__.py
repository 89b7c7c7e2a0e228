"""What the files of one release are, from its public settings alone: names, UIDs, headers, templates.

    settings.py    what all files share        rules.py      what settings must keep
    uids.py        the UID of every object
    layout.py      which file lies where       values.py     what differs between two files of one kind
    instances.py   one file the slow way       templates.py  every kind of file as a form
    pixels.py      masks as Pixel Data

The maker of an archive and its auditor both build on this package, each from the settings; neither reads the other's
files to do so.
"""
