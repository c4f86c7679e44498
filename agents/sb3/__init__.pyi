from .policy import GPTRecPolicy as GPTRecPolicy
from .policy import ListRolloutBuffer as ListRolloutBuffer
from .trainer import maskable_ppo as maskable_ppo
from .trainer import train as train
from .vec_env import ListVecEnv as ListVecEnv
