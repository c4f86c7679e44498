from .model import ListModel as ListModel
from .model import ListOutput as ListOutput
from .model import item_tokenizer as item_tokenizer
from .trainer import train as train
