"""What every test shares: hypothesis without deadlines (many workers, two cores), few threads."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: the workers share the cores
os.environ.setdefault("MPLBACKEND", "agg")

try:
    from hypothesis import settings
except ImportError:  # the tests that need it say so themselves
    pass
else:
    settings.register_profile("kdlab", deadline=None, max_examples=50)
    settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True)
    settings.load_profile("ci" if os.environ.get("CI") else "kdlab")
