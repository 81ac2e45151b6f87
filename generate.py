"""What a trained model says to a text.

    python generate.py --workdir=runs/quickstart --prompt="def "
    python generate.py --workdir=runs/quickstart --prompts=prompts.txt --temperature=0
    python generate.py --workdir=runs/translate --prompt="ein hund läuft ." --beam=4
    python generate.py --workdir=runs/large --prompt="def " --draft=runs/small --draft_tokens=4
    python generate.py --workdir=runs/large --prompt="def " --quantize=int8
    python generate.py --workdir=runs/masked --prompt="import [MASK] as np"
    python generate.py --workdir=runs/fim --prompt="def area(r):<|fim_middle|> * r"
    python generate.py --hf=DIR --prompt="Once upon a time"
    python generate.py --hf=DIR --chat --system="Be brief." --prompt="Who wrote Faust?"

A decoder continues the text: one prompt is written to the terminal as it grows, several are
completed in one batch. An encoder-decoder writes the target, a masked model the likeliest tokens of
each [MASK], a classifier the class; a chat model answers what a user says; one of
`fill_in_middle` writes what belongs at the mark. A small model with the same tokenizer may propose
tokens (--draft): the text stays the model's own and takes fewer passes. DIR is a Hugging Face
directory, or a hub id.
"""

import json
import sys
from pathlib import Path
from typing import Any

from transformer import cli, hardware, launch


def main() -> int:
    parser = cli.parser(__doc__)
    add = parser.add_argument
    add('--workdir', type=Path, help='of the training run')
    add('--checkpoint', default='best', help='best, latest or a step')
    add('--hf', metavar='DIR', help='a Hugging Face directory or hub id, instead of a run')
    add('--prompt', action='append', default=[], help='text to continue; may be given again')
    add('--prompts', type=Path, metavar='FILE', help='a file with a prompt on each line')
    add('--chat', action='store_true', help='with --hf: prompts are what a user says')
    add('--system', default='', help='what a chat model is told first')
    add('--max_tokens', type=int, help='new tokens at most (200, or the target context)')
    add('--temperature', type=float, default=0.8, help='0 takes the likeliest token (0.8)')
    add('--top_k', type=int, default=0, help='only so many of the likeliest tokens; 0: all')
    add('--top_p', type=float, default=0.95, help='only the likeliest up to this share (0.95)')
    add('--beam', type=int, default=0, help='hypotheses of a beam search (encoder-decoders)')
    add('--length_penalty', type=float, default=0.6, help='of the beam search (0.6)')
    add('--draft', type=Path, help='a run (with --hf a DIR) whose model proposes tokens')
    add('--draft_tokens', type=int, default=4, help='how many it proposes at a time (4)')
    add('--quantize', default='', metavar='int8', help='parameters as 8-bit numbers (decoders)')
    add('--seed', type=int, default=0, help='the same seed gives the same text')
    add('--json', action='store_true', help='prints one JSON object a prompt')
    launch.add_flags(parser)
    flags, overrides = cli.parse(parser)
    launch.start(flags)  # before anything touches a device
    if overrides:
        parser.error(f'--config.{next(iter(overrides))}: generate.py takes the config of the run')

    if (flags.workdir is None) == (flags.hf is None):
        parser.error('either --workdir or --hf is required')

    import absl.logging

    from data import sources
    from transformer import respond
    from transformer.beam import Beam
    from transformer.errors import UserError
    from transformer.sampling import Sampling

    absl.logging.set_verbosity(absl.logging.ERROR)
    how = Sampling(flags.temperature, flags.top_k, flags.top_p)
    if flags.beam:
        for name in ('temperature', 'top_k', 'top_p'):
            if getattr(flags, name) != parser.get_default(name):
                parser.error(f'--{name}: a beam search (--beam={flags.beam}) draws nothing')
        how = Beam(flags.beam, flags.length_penalty)
    elif flags.length_penalty != parser.get_default('length_penalty'):
        parser.error('--length_penalty: there is no beam search; accepted: with --beam')
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
    if flags.draft is None and flags.draft_tokens != parser.get_default('draft_tokens'):
        parser.error('--draft_tokens: nothing proposes tokens; accepted: with --draft')
    load = of_checkpoint if flags.hf else of_run
    speaker, step = load(flags, how)
    if flags.draft is not None:
        speaker = drafted(flags, speaker)
    if flags.quantize:
        speaker = quantized(flags, speaker)
    objective, tokenizer = speaker.objective, speaker.tokenizer
    chats = objective.kind == 'chat'
    if flags.system and not chats:
        parser.error(f'--system: a model of objective {objective.kind!r} is told nothing first')
    writes = objective.SHAPE == 'decoder'
    gap = objective.kind == 'fill_in_middle' and any(objective.gap in text for text in texts)
    continues = writes and not chats and not gap
    if writes and len(texts) == 1 and not flags.json and not flags.beam:
        # Without an end marker before it, a prompt is read as the middle of a document.
        end, (prompt,) = tokenizer.end, respond.begun(speaker, texts)
        if chats:
            end, (prompt,) = respond.asked(speaker, texts)
        generator = speaker.generator(end)
        shown = f'{texts[0]}\n' if chats else f'{texts[0]} -> ' if gap else texts[0]
        stream(generator, tokenizer, shown, prompt, flags)
        return 0
    if objective.kind in ('masked', 'classification'):
        for name in ('beam', 'temperature', 'top_k', 'top_p', 'max_tokens'):
            if getattr(flags, name) != parser.get_default(name):
                parser.error(f'--{name}: a model of objective {objective.kind!r} writes no text')
    for i, (text, answer) in enumerate(zip(texts, respond.respond(speaker, texts))):
        if flags.json:
            record = {'prompt': text, 'completion': answer}
            if writes:
                record['tokens'] = len(tokenizer.encode(answer))
            print(json.dumps(record | {'step': step}))
        else:
            print(f'--- {i + 1}\n{text}{"" if continues else " -> "}{answer}')
    return 0


def of_run(flags, how) -> tuple[Any, int]:
    """The model of a work directory, ready to answer, and the step of its checkpoint."""
    from data import tokenizers
    from transformer import restore, workdir
    from transformer.errors import UserError
    from transformer.experiment import Experiment

    experiment = Experiment.from_config(workdir.read_config(flags.workdir))
    hardware.enable_compilation_cache(experiment.compilation_cache)
    objective = experiment.objective
    if flags.chat and objective.kind != 'chat':
        accepted = "a run of config.objective.kind='chat', or --hf=DIR"
        raise UserError(f'--chat: --workdir={flags.workdir} holds no chat model; {accepted}')
    if not objective.reads_text:
        what = 'images' if objective.RECORDS == 'images' else f'{objective.kind}, which is no text'
        raise UserError(f'--workdir={flags.workdir} holds a model of {what}; eval.py measures it')
    tokenizer = tokenizers.load(flags.workdir / workdir.TOKENIZER)
    run = restore.load(flags.workdir, tokenizers.digest(tokenizer), flags.checkpoint)
    return speaker(flags, how, run.writer, run.params, tokenizer, objective, run.classes), run.step


def of_checkpoint(flags, how) -> tuple[Any, int]:
    """The same of a Hugging Face directory."""
    from data import tokenizers
    from transformer import hf
    from transformer.errors import UserError
    from transformer.hf import runs
    from transformer.objectives import OBJECTIVES

    hardware.enable_compilation_cache('auto')
    found = hf.load(flags.hf)
    made = found.architecture
    kind = runs.objective_of(made)
    if flags.chat and kind != 'next_token':
        raise UserError(f'--chat: --hf={flags.hf} holds no decoder that writes text')
    objective = OBJECTIVES['chat' if flags.chat else kind]()
    if objective.RECORDS == 'images':
        raise UserError(f'--hf={flags.hf} holds a model of images')
    if found.tokenizer is None:
        raise UserError(f'--hf={flags.hf} has no tokenizer.json')
    tokenizer = tokenizers.Pretrained(found.tokenizer, start=made.start)
    return speaker(flags, how, found.model, found.params, tokenizer, objective, made.labels), 0


def speaker(flags, how, model, params, tokenizer, objective, classes) -> Any:
    from transformer.respond import Speaker

    # 0 would mean the model's own: an impossible number is refused, not replaced.
    room = 0 if flags.max_tokens is None else flags.max_tokens or -1
    return Speaker(
        model, params, tokenizer, objective, classes, how, room, flags.seed, flags.system
    )


def drafted(flags, speaker) -> Any:
    """The same with a draft model."""
    import argparse
    import dataclasses

    from data import tokenizers
    from transformer.errors import UserError
    from transformer.respond import Draft

    if speaker.objective.SHAPE != 'decoder':
        kind = speaker.objective.kind
        raise UserError(f'--draft: a model of objective {kind!r} has no draft; accepted: decoders')
    source = {'hf': str(flags.draft)} if flags.hf else {'workdir': flags.draft}
    changed = {'checkpoint': 'best', 'chat': False, **source}
    load = of_checkpoint if flags.hf else of_run
    other, _ = load(argparse.Namespace(**vars(flags) | changed), speaker.how)
    if other.objective.SHAPE != 'decoder' or other.classes:
        kind = other.objective.kind
        raise UserError(f'--draft={flags.draft}: objective {kind!r}; accepted: that of a decoder')
    own, its = (tokenizers.digest(s.tokenizer)[:12] for s in (speaker, other))
    if own != its:
        sizes = f'{its} ({other.tokenizer.vocab_size} tokens)'
        accepted = f"{own} ({speaker.tokenizer.vocab_size} tokens), the model's"
        raise UserError(f'--draft={flags.draft} has the tokenizer {sizes}; accepted: {accepted}')
    draft = Draft(other.model, other.params, flags.draft_tokens)
    return dataclasses.replace(speaker, draft=draft)


def quantized(flags, speaker) -> Any:
    """The same with parameters of 8 bits."""
    import dataclasses

    from transformer import quantize
    from transformer.errors import UserError

    if speaker.objective.SHAPE == 'encoder':
        kind = speaker.objective.kind
        raise UserError(f'--quantize: a model of objective {kind!r} writes no text')
    model, params = quantize.quantized(speaker.model, speaker.params, flags.quantize)
    return dataclasses.replace(speaker, model=model, params=params)


def stream(generator, tokenizer, text: str, prompt: list[int], flags) -> None:
    """Writes the text as it grows; half a character waits for its other half."""
    sys.stdout.write(text)
    room = 200 if flags.max_tokens is None else flags.max_tokens
    every = 1 if sys.stdout.isatty() else room
    made, shown = [], 0
    for (new,) in generator.stream([prompt], room, flags.seed, every=every):
        made += new
        decoded = tokenizer.continuation(prompt, made)
        whole = len(decoded.rstrip('\ufffd'))
        sys.stdout.write(decoded[shown:whole])
        sys.stdout.flush()
        shown = max(shown, whole)
    print(tokenizer.continuation(prompt, made)[shown:])


if __name__ == '__main__':
    hardware.use_huge_pages()
    cli.run(main)
