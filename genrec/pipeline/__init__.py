"""The stages of a run: teacher, student, supervised warm-up and alignment, each in a run
directory.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
