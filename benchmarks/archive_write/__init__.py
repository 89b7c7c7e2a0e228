"""How fast an archive is written, against plain highdicom, and whether both write the same bytes.

workload.py    samples and settings             contenders.py   our writer; pydicom and highdicom as they come
measuring.py   rounds, memory, processes        reference.py    goals, the page, the recorded run
"""
