"""One line under an exercise: does my function do what it should?

Each check calls yours on a few inputs beside the right answer. It prints one line when all is well,
or raises an AssertionError with a hint; a stub (NotImplementedError) is "not done yet".
"""

from kdlab.apps.chapters.exercises.losses import *  # noqa: F403
from kdlab.apps.chapters.exercises.practice import *  # noqa: F403
