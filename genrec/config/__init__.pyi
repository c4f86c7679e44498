from .errors import ConfigError as ConfigError
from .errors import DataError as DataError
from .errors import DivergenceError as DivergenceError
from .errors import GenrecError as GenrecError
from .errors import RunError as RunError
from .model import Config as Config
