"""What reading a cohort in costs beside a plain pydicom loop, on one core and on all."""
