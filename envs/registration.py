"""The environments' ids in Gymnasium's registry."""

import gymnasium

LIST_GENERATION = "genrec/ListGeneration-v0"


def register() -> None:
    """Make ``gymnasium.make`` and ``gymnasium.make_vec`` know the environments; a second call
    changes nothing."""
    if LIST_GENERATION not in gymnasium.registry:
        gymnasium.register(
            id=LIST_GENERATION,
            entry_point="genrec.envs.list_generation:ListGenerationEnv",
            vector_entry_point="genrec.envs.vector:ListGenerationVectorEnv",
        )
