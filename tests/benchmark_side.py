"""A side of a contest that knows nothing of models: for `test_benchmarks.py`."""

import os

from transformer.errors import UserError


class Side:
    """It counts how often it is asked."""

    def __init__(self, first: int):
        if first < 0:
            raise UserError(f'first={first}: accepted: at least 0')
        print('what libraries say on their way')
        self.about = {'pid': os.getpid()}
        self._count = first

    def count(self) -> int:
        self._count += 1
        print('and while they work')
        return self._count

    def broken(self) -> None:
        raise ValueError('a bug')

    def die(self) -> None:
        os.write(2, b'first line\nthe last words\n')
        os._exit(3)
