"""A side of a contest, in a process of its own: it makes something, then does what it is told.

It reads requests, a JSON object a line, and answers each with one that has a 'value' or an 'error'.
The first request gives the arguments of the module's `Side`, the others name one of its methods.
"""

import importlib
import json
import os
import sys
import traceback

from transformer.errors import UserError


def main(name: str) -> None:
    # What libraries print must not mix with the answers.
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)
    side = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if side is None:
                side = importlib.import_module(name).Side(**request['args'])
                value = side.about
            else:
                value = getattr(side, request['call'])(**request['args'])
            answer = {'value': value}
        except UserError as error:
            answer = {'error': str(error)}
        except Exception as error:  # whatever it was, the other process tells it
            traceback.print_exc()
            answer = {'error': f'{type(error).__name__}: {error}'}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == '__main__':
    main(sys.argv[1])
