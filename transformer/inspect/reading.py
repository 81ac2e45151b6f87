"""From a text, an image or an example to what a model reads of it. T places.

Each kind of objective has its way; it is the one in which `generate.py` reads a text.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transformer.errors import UserError
from transformer.inspect.batches import Batch, check_tokens, row
from transformer.objectives import MASK

# Characters that would not be seen at an axis.
SHOWN = str.maketrans({' ': '␣', '\n': '↵', '\t': '⇥', '\r': '␍'})


def read_text(subject: Any, text: str, target: str) -> Any:
    """See `Subject.read`."""
    s, kind = subject, subject.objective.kind
    if s.objective.RECORDS == 'images':
        raise UserError(f'{s.name} holds a model of images; accepted: --image or --example')
    if not text:
        raise UserError("the text is empty (''); accepted: at least one character")
    if getattr(s.objective, 'lowercase', False):
        text, target = text.lower(), target.lower()
    if s.tokenizer is None:
        batch = _made_up(s, text, target)
    elif s.objective.SHAPE == 'encoder_decoder':
        batch = _pair(s, text, target)
    elif s.objective.SHAPE == 'decoder' and s.objective.HEAD == 'tokens':
        batch = _continued(s, text, target)
    else:
        batch = WAYS[kind](s, text, target)
    return _case(s, batch, f'{text!r}' + (f' → {target!r}' if target else ''))


def _case(subject: Any, batch: Batch, title: str) -> Any:
    from data.show.spelled import visible
    from transformer.inspect.subject import Case

    c = subject.model.config
    if 'images' in batch:
        labels = {'stack': _patches(c.patches)}
    else:
        check_tokens('the text', batch['inputs'], c.context, c.tokens.vocab)
        first = 'encoder' if 'decoder_inputs' in batch else 'stack'
        labels = {first: _labels(subject, batch['inputs'])}
    if 'decoder_inputs' in batch:
        check_tokens('the target', batch['decoder_inputs'], c.target_context, c.tokens.vocab)
        labels['decoder'] = _labels(subject, batch['decoder_inputs'])
    return Case(batch, labels, visible(title))


def _labels(subject: Any, tokens_BT: np.ndarray) -> tuple[str, ...]:
    return tuple(token(subject, int(number)) for number in tokens_BT[0])


def piece(subject: Any, number: int) -> str:
    """See `Subject.piece`."""
    if hasattr(subject.model.config.head, 'vocab'):
        return token(subject, number)
    return _shown(subject.classes, number)


def token(subject: Any, number: int) -> str:
    """The text of a token, blanks and line ends made visible."""
    if subject.tokenizer is None:
        return _shown(subject.objective.pieces, number)
    special = {i: name for name, i in subject.tokenizer.specials.items()}
    return special[number] if number in special else _shown(subject.tokenizer.pieces, number)


def _shown(names: Sequence[str], number: int) -> str:
    from data.show.spelled import visible

    if number >= len(names) or not names[number].strip('\ufffd'):
        return f'<{number}>'  # tables of tokens are padded; part of a character is none
    return visible(names[number].translate(SHOWN))


def _made_up(subject: Any, text: str, target: str) -> Batch:
    """Tokens of a made-up task, between blanks."""
    known = {name.strip(): number for number, name in enumerate(subject.objective.pieces)}

    def numbers(words: str) -> list[int]:
        unknown = [word for word in words.split() if word not in known]
        if unknown:
            raise UserError(f'{unknown[0]!r} is no token of {subject.objective.kind}; accepted, '
                            f'between blanks: {", ".join(known)}')  # fmt: skip
        return [known[word] for word in words.split()]

    return _next(numbers(text), numbers(target), text_too=False)


def _encoded(subject: Any, target: str) -> list[int]:
    ids = subject.tokenizer.encode(target)
    if target and not ids:
        raise UserError(f'--target={target!r} has no tokens; accepted: at least one')
    return ids


def _continued(subject: Any, text: str, target: str) -> Batch:
    from transformer.respond import Speaker, asked, begun

    s, kind = subject, subject.objective.kind
    speaker = Speaker(s.model, s.params, s.tokenizer, s.objective)
    if kind == 'chat':
        (ids,) = asked(speaker, [text])[1]
    elif kind == 'fill_in_middle' and s.objective.gap in text:
        (ids,) = begun(speaker, [text])
    else:
        ids = s.tokenizer.prompt(text)
    batch = _next(ids, _encoded(s, target))
    if kind == 'prefix' and target:
        batch['prefix'] = np.arange(batch['inputs'].shape[1])[None] < len(ids)
    return batch


def _next(ids: list[int], target: list[int], text_too: bool = True) -> Batch:
    """A row of a decoder, scored at the target; without one at all that the text goes on with."""
    if not ids:
        raise UserError('the text has 0 tokens; accepted: at least 1')
    whole = np.array([[*ids, *target]], np.int32)
    inputs_BT = whole[:, :-1] if target else whole
    weights_BT = np.zeros(inputs_BT.shape, np.float32)
    if not target and (not text_too or len(ids) < 2):
        weights_BT[:, -1:] = 1
        return row(inputs_BT) | {'weights': weights_BT}
    first, last = (len(ids) - 1, None) if target else (0, -1)
    weights_BT[:, first:last] = 1
    targets_BT = np.append(whole[:, 1:], whole[:, :1], 1)[:, : inputs_BT.shape[1]]
    return row(inputs_BT) | {'targets': targets_BT, 'weights': weights_BT}


def _pair(subject: Any, text: str, target: str) -> Batch:
    s = subject
    if not target:
        raise UserError('an encoder-decoder reads two texts; accepted: --text with --target')
    ended = s.tokenizer.side if s.objective.kind == 'seq2seq' else s.tokenizer.close
    names = s.objective.special_tokens
    source, wanted = (ended(s.tokenizer.encode_marked(t, names)) for t in (text, target))
    shifted = np.concatenate([[s.tokenizer.start], wanted[:-1]])
    one = lambda ids: np.asarray(ids, np.int32)[None]  # noqa: E731
    weights = {'weights': np.ones((1, len(wanted)), np.float32)}
    return row(one(source)) | row(one(shifted), 'decoder_') | {'targets': one(wanted)} | weights


def _masked(subject: Any, text: str, target: str) -> Batch:
    s, (before, after) = subject, subject.tokenizer.frame
    ids = s.tokenizer.encode_marked(text, s.objective.special_tokens)
    batch = row(np.array([[*before, *ids, *after]], np.int32))
    gaps_BT = batch['inputs'] == s.tokenizer.special(MASK)
    wanted, count = _encoded(s, target), int(gaps_BT.sum())
    if target and len(wanted) != count:
        made = ', '.join(repr(s.tokenizer.pieces[i]) for i in wanted)
        raise UserError(f'--target={target!r} is {len(wanted)} tokens ({made}), the text has '
                        f'{count} {MASK}; accepted: as many')  # fmt: skip
    if not count:  # what is seen is to be said
        text_BT = np.ones(gaps_BT.shape, np.float32)
        text_BT[:, : len(before)] = text_BT[:, len(before) + len(ids) :] = 0
        return batch | {'targets': batch['inputs'], 'weights': text_BT}
    if target:
        batch['targets'] = batch['inputs'].copy()
        batch['targets'][gaps_BT] = wanted
    return batch | {'weights': gaps_BT.astype(np.float32)}


def _classified(subject: Any, text: str, target: str) -> Batch:
    ids = subject.tokenizer.wrap(subject.tokenizer.encode(text))
    return row(np.array([ids], np.int32)) | _class(subject, target)


def _tagged(subject: Any, text: str, target: str) -> Batch:
    if target:
        raise UserError(f'--target={target!r}: a model of tags says its own; accepted: none')
    (before, after), ids = subject.tokenizer.frame, subject.tokenizer.encode(text)
    batch = row(np.array([[*before, *ids, *after]], np.int32))
    weights_BT = np.ones(batch['inputs'].shape, np.float32)
    weights_BT[:, : len(before)] = weights_BT[:, len(before) + len(ids) :] = 0
    return batch | {'weights': weights_BT}


WAYS: dict[str, Callable[[Any, str, str], Batch]] = {
    'masked': _masked,
    'classification': _classified,
    'token_classification': _tagged,
}


def _class(subject: Any, target: str) -> Batch:
    """`targets` and `weights` of a class; '' means that the model says which."""
    weights = {'weights': np.ones(1, np.float32)}
    if not target:
        return weights
    if target not in subject.classes:
        known = ', '.join(subject.classes)
        raise UserError(f'--target={target!r} is no class of the model; accepted: {known}')
    return weights | {'targets': np.array([subject.classes.index(target)], np.int32)}


def read_image(subject: Any, path: Path, target: str) -> Any:
    """See `Subject.image`."""
    from data.objectives.image_classification import MEAN, STD
    from data.sources import pixels

    if subject.objective.RECORDS != 'images':
        raise UserError(f'--image={path}: {subject.name} holds a model of text; accepted: --text')
    p = subject.model.config.patches
    image = pixels.decode(Path(path), str(path), grey=p.channels == 1)
    if image.shape != (p.image, p.image, p.channels):
        sizes = ' x '.join(map(str, image.shape))
        accepted = f'{p.image} x {p.image} x {p.channels}'
        raise UserError(f'--image={path} is {sizes}; accepted: {accepted}')
    batch = {'images': ((image - MEAN) / STD)[None].astype(np.float32)}
    return _case(subject, batch | _class(subject, target), Path(path).name)


def read_example(subject: Any, index: int) -> Any:
    """See `Subject.example`."""
    from data import load

    if subject.experiment is None:
        raise UserError('--example: a checkpoint has no data; accepted: with --workdir')
    rows = load.load(subject.experiment, subject.tokenizer).feed.validation.rows
    if not 0 <= index < len(rows):
        raise UserError(f'--example={index}: accepted: 0 to {len(rows) - 1}')
    unused = ('source', 'completion')
    batch = {name: np.asarray(x)[None] for name, x in rows.at(index).items() if name not in unused}
    if 'images' not in batch:
        batch = _without_padding(batch)
    return _case(subject, batch, f'validation example {index:,}')


def _without_padding(batch: Batch) -> Batch:
    """A row cut behind its last token, on each side."""
    scored, made = 'decoder_' if 'decoder_inputs' in batch else '', dict(batch)
    for side in {'', scored}:
        end = np.flatnonzero(batch[f'{side}segment_ids'][0])[-1] + 1
        names = [f'{side}{name}' for name in ('inputs', 'positions', 'segment_ids')]
        names += ['targets', 'weights', 'prefix'] if side == scored else []
        made |= {k: batch[k][:, :end] for k in names if k in batch and batch[k].ndim > 1}
    return made


def _patches(config: Any) -> tuple[str, ...]:
    """Names of an image's places: extra vectors, then the row and the column of each patch."""
    at = (divmod(patch, config.image // config.patch) for patch in config.order.tolist())
    return (*('CLS', 'DIST')[: config.extra], *(f'{row},{column}' for row, column in at))
