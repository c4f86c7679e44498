from . import agents as agents
from . import baselines as baselines
from . import data as data
from . import envs as envs
from . import evaluation as evaluation
from . import metrics as metrics
from . import models as models
from . import pipeline as pipeline
from . import report as report
from . import rerankers as rerankers
from . import rewards as rewards
from .config.errors import GenrecError as GenrecError
from .data import load as load

__version__: str
