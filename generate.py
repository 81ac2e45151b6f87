"""Text from a trained model.

    python generate.py --workdir=runs/quickstart --prompt="def "
    python generate.py --workdir=runs/quickstart --prompts=prompts.txt --temperature=0

One prompt is written to the terminal as it grows; several are completed in one batch.
"""

import json
import sys
from pathlib import Path

from transformer import cli, hardware


def main() -> int:
    parser = cli.parser(__doc__)
    add = parser.add_argument
    add('--workdir', required=True, type=Path, help='of the training run')
    add('--checkpoint', default='best', help='best, latest or a step')
    add('--prompt', action='append', default=[], help='text to continue; may be given again')
    add('--prompts', type=Path, metavar='FILE', help='a file with a prompt on each line')
    add('--max_tokens', type=int, default=200, help='new tokens at most (200)')
    add('--temperature', type=float, default=0.8, help='0 takes the likeliest token (0.8)')
    add('--top_k', type=int, default=0, help='only so many of the likeliest tokens; 0: all')
    add('--top_p', type=float, default=0.95, help='only the likeliest up to this share (0.95)')
    add('--seed', type=int, default=0, help='the same seed gives the same text')
    add('--json', action='store_true', help='prints one JSON object a prompt')
    flags, overrides = cli.parse(parser)
    if overrides:
        parser.error(f'--config.{next(iter(overrides))}: generate.py takes the config of the run')

    import absl.logging

    from data import sources, tokenizers
    from transformer import restore, workdir
    from transformer.decode import Generator, Sampling
    from transformer.errors import UserError
    from transformer.experiment import Experiment

    absl.logging.set_verbosity(absl.logging.ERROR)
    sampling = Sampling(flags.temperature, flags.top_k, flags.top_p)
    texts = list(flags.prompt)
    if flags.prompts:
        texts += sources.read_text(flags.prompts).splitlines()
    if not texts:
        raise UserError('there is no prompt; give --prompt="..." or --prompts=FILE')
    empty = [i for i, text in enumerate(texts) if not text]
    if empty:
        where = (
            f'--prompts={flags.prompts} (line or prompt {empty[0] + 1})'
            if flags.prompts
            else '--prompt'
        )
        raise UserError(f"{where}='': a prompt is empty; accepted: at least one character")
    experiment = Experiment.from_config(workdir.read_config(flags.workdir))
    hardware.enable_compilation_cache(experiment.compilation_cache)
    tokenizer = tokenizers.load(flags.workdir / workdir.TOKENIZER)
    # Without an end marker before it, a prompt is read as the middle of a document.
    prompts = [tokenizer.encode(text) for text in texts]
    run = restore.load(flags.workdir, tokenizer, tokenizers.digest(tokenizer), flags.checkpoint)
    generator = Generator(run.model, run.params, tokenizer.end, sampling)

    if len(texts) == 1 and not flags.json:
        stream(generator, tokenizer, texts[0], prompts[0], flags)
        return 0
    rows = generator.generate(prompts, flags.max_tokens, flags.seed)
    for i, (text, row) in enumerate(zip(texts, rows)):
        completion = tokenizer.decode(row)
        if flags.json:
            record = {'prompt': text, 'completion': completion, 'tokens': len(row)}
            print(json.dumps(record | {'step': run.step}))
        else:
            print(f'--- {i + 1}\n{text}{completion}')
    return 0


def stream(generator, tokenizer, text: str, prompt: list[int], flags) -> None:
    """Writes the text as it grows; half a character waits for its other half."""
    sys.stdout.write(text)
    every = 1 if sys.stdout.isatty() else flags.max_tokens
    made, shown = [], 0
    for (new,) in generator.stream([prompt], flags.max_tokens, flags.seed, every=every):
        made += new
        decoded = tokenizer.decode(made)
        whole = len(decoded.rstrip('\ufffd'))
        sys.stdout.write(decoded[shown:whole])
        sys.stdout.flush()
        shown = max(shown, whole)
    print(tokenizer.decode(made)[shown:])


if __name__ == '__main__':
    hardware.use_huge_pages()
    cli.run(main)
