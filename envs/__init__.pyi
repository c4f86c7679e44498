from .list_generation import ListGenerationEnv as ListGenerationEnv
from .registration import LIST_GENERATION as LIST_GENERATION
from .registration import register as register
from .task import ListTask as ListTask
from .vector import ListGenerationVectorEnv as ListGenerationVectorEnv
