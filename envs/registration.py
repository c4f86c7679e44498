"""Registration of the environments in Gymnasium's registry."""

import gymnasium

LIST_GENERATION = "genrec/ListGeneration-v0"
"""Name of the environment in Gymnasium's registry."""


def register() -> None:
    """Register the environments for ``gymnasium.make`` and ``gymnasium.make_vec``.

    A second call changes nothing.
    """
    if LIST_GENERATION not in gymnasium.registry:
        gymnasium.register(
            id=LIST_GENERATION,
            entry_point="genrec.envs.list_generation:ListGenerationEnv",
            vector_entry_point="genrec.envs.vector:ListGenerationVectorEnv",
        )
