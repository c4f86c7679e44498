"""Settings: frozen models, choices by name, YAML files and overrides; the errors for users; and
what keeps users safe: which code may run, files that are written whole, harmless text.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
