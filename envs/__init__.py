"""List generation as reinforcement-learning environments, registered as
``genrec/ListGeneration-v0``."""

from genrec.envs.list_generation import ListGenerationEnv, ListTask
from genrec.envs.registration import LIST_GENERATION, register
from genrec.envs.vector import ListGenerationVectorEnv

register()

__all__ = [
    "LIST_GENERATION",
    "ListGenerationEnv",
    "ListGenerationVectorEnv",
    "ListTask",
    "register",
]
