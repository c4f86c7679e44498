"""What all trainings share: checkpoints, early stopping, schedules, metrics and messages, devices,
run directories.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
