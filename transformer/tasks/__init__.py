"""Tasks whose rows are made up, not read: what they show is known exactly. One file each.

A task is an objective of its own, `config.objective.kind`; importing its file registers it. Its
rows are functions of (seed, place), so that any number of processes and a resumed run see the same.
"""

import importlib
import pkgutil

from transformer.tasks.base import TASKS, Drawn, Task

__all__ = ['TASKS', 'Drawn', 'Task']

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f'{__name__}.{_module.name}')
