"""How a checkpoint writes text: generation_config.json, and what a caller wants instead.

Names, defaults and meanings are those of `transformers`; nothing that is set is passed over.
"""

import dataclasses
import difflib
import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any

from transformer.beam import Beam
from transformer.errors import UserError
from transformer.sampling import Sampling
from transformer.scores import Constraints


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be written.

    Attributes:
      ends: tokens that end a text.
      pad: token that fills rows up, or None where all rows are as long.
      start: token that an encoder-decoder's decoder reads first, or None.
      copies: texts for each prompt.
      room: new tokens at most.
    """

    how: Sampling | Beam
    constraints: Constraints
    ends: tuple[int, ...]
    pad: int | None
    start: int | None
    copies: int
    room: int


def _whole(x: Any, least: int = 0) -> bool:
    return isinstance(x, numbers.Integral) and not isinstance(x, bool) and x >= least


def _real(x: Any) -> bool:
    return isinstance(x, numbers.Real) and not isinstance(x, bool) and math.isfinite(x)


def _tokens(x: Any) -> bool:
    return isinstance(x, list | tuple) and all(map(_whole, x))


def _texts(x: Any) -> bool:
    return isinstance(x, list | tuple) and all(_tokens(t) and len(t) for t in x)


def _weighted(x: Any) -> bool:
    pairs = x.items() if isinstance(x, Mapping) else x if isinstance(x, list | tuple) else [()]
    return all(len(p) == 2 and _texts(p[:1]) and isinstance(p[1], numbers.Real) for p in pairs)


Kind = tuple[Callable[[Any], bool], str]
COUNT: Kind = (_whole, 'a whole number from 0')
ABOVE_0: Kind = (lambda x: _whole(x, 1), 'a whole number from 1')
REAL: Kind = (_real, 'a number')
FLAG: Kind = (lambda x: isinstance(x, bool), 'True or False')
TOKEN: Kind = (_whole, "a token's number")
TOKENS: Kind = (lambda x: _whole(x) or _tokens(x), "a token's number, or a list of them")
# Each option, and its value where nothing is said (None: it is off).
OPTIONS: dict[str, tuple[Kind, Any]] = {
    'max_new_tokens': (ABOVE_0, None),
    'max_length': (ABOVE_0, None),
    'min_new_tokens': (COUNT, None),
    'min_length': (COUNT, 0),
    'num_return_sequences': (ABOVE_0, 1),
    'do_sample': (FLAG, False),
    'temperature': (REAL, 1.0),
    'top_k': (COUNT, 50),
    'top_p': (REAL, 1.0),
    'min_p': (REAL, None),
    'num_beams': (ABOVE_0, 1),
    'length_penalty': (REAL, 1.0),
    'early_stopping': (
        (lambda x: x is True or x is False or x == 'never', "True, False, 'never'"),
        False,
    ),
    'bos_token_id': (TOKEN, None),
    'eos_token_id': (TOKENS, None),
    'pad_token_id': (TOKEN, None),
    'decoder_start_token_id': (TOKEN, None),
    'forced_bos_token_id': (TOKEN, None),
    'forced_eos_token_id': (TOKENS, None),
    'suppress_tokens': (TOKENS, None),
    'begin_suppress_tokens': (TOKENS, None),
    'bad_words_ids': ((_texts, 'a list of lists of tokens'), None),
    'sequence_bias': ((_weighted, 'a list of [list of tokens, number]'), None),
    'repetition_penalty': (REAL, 1.0),
    'encoder_repetition_penalty': (REAL, 1.0),
    'no_repeat_ngram_size': (COUNT, 0),
    'encoder_no_repeat_ngram_size': (COUNT, 0),
    'exponential_decay_length_penalty': (
        (
            lambda x: isinstance(x, list | tuple) and [*map(_real, x)] == [True] * 2,
            '(start, factor)',
        ),
        None,
    ),
    'renormalize_logits': (FLAG, False),
}
# Options that are not here: they must be off, as these values are. None is, too.
OFF: dict[str, tuple[Any, ...]] = {
    'typical_p': (1.0,),
    'epsilon_cutoff': (0.0,),
    'eta_cutoff': (0.0,),
    'diversity_penalty': (0.0,),
    'num_beam_groups': (1,),
    'penalty_alpha': (0.0,),
    'guidance_scale': (1.0,),
    'token_healing': (False,),
    'remove_invalid_values': (False,),
    'use_mtp': (False,),
    'output_attentions': (False,),
    'output_hidden_states': (False,),
    'output_scores': (False,),
    'output_logits': (False,),
    'return_dict_in_generate': (False,),
    'top_h': (),
    'constraints': (),
    'force_words_ids': (),
    'dola_layers': (),
    'watermarking_config': (),
    'max_time': (),
    'stop_strings': (),
    'prompt_lookup_num_tokens': (),
    'assistant_early_exit': (),
}
# Where a computation happens, what another model that drafts would do, who wrote the file.
HARMLESS = """
    transformers_version _from_model_config _commit_hash _name_or_path use_cache
    cache_implementation cache_config max_cache_len compile_config disable_compile low_memory
    prefill_chunk_size continuous_batching_config is_assistant num_assistant_tokens
    num_assistant_tokens_schedule assistant_confidence_threshold assistant_lookbehind
    assistant_ensemble_weight target_lookbehind max_matching_ngram_size speculation_type
"""
# Said for nothing where they are not used: a caller's mistake, a file's habit.
OF_SAMPLING = ('temperature', 'top_k', 'top_p', 'min_p')
OF_BEAMS = ('length_penalty', 'early_stopping')
LENGTHS = (('max_new_tokens', 'max_length'), ('min_new_tokens', 'min_length'))


def plan(
    file: Mapping[str, Any],
    config: Mapping[str, Any],
    wanted: Mapping[str, Any],
    prompt: int,
    vocab: int,
    longest: int | None = None,
    start: int | None = None,
) -> Plan:
    """What is to be written.

    Args:
      file: the generation_config.json; where there is none, config.json says it.
      wanted: by the caller; it goes before the file. None switches an option off.
      prompt: slots of a prompt, padding included.
      vocab: V.
      longest: text, prompt included, if nobody says how long it may be.
      start: token that a decoder reads first, if nobody says so.

    Raises:
      UserError: an option that is unknown or not here, or that cannot be used, by its name.
    """
    known = {**OPTIONS, **OFF}
    found = file or {name: config[name] for name in known if name in config}
    for name in wanted:
        if name not in known and name not in file:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f'; did you mean {near[0]!r}?' if near else f'; accepted: {", ".join(OPTIONS)}'
            raise UserError(f'{name} is no option of generate{hint}')
    for name, other in LENGTHS:  # the caller's word for it is the one that counts
        if wanted.get(name) is not None and wanted.get(other) is not None:
            raise UserError(f'{name} and {other} say the same; accepted: one of them')
        if wanted.get(other) is not None:
            found = {k: v for k, v in found.items() if k != name}
    values = {name: x for name, x in found.items() if x is not None} | dict(wanted)
    _check(values, wanted, vocab)
    defaults = {name: default for name, (_, default) in OPTIONS.items()}
    return _made({**defaults, **values}, prompt, longest, start)


def _check(values: Mapping[str, Any], wanted: Mapping[str, Any], vocab: int) -> None:
    for name, value in values.items():
        if value is None or name in HARMLESS.split():
            continue
        where = '' if name in wanted else 'generation_config.json: '
        without = '' if name in wanted else f', or {name}=None to go without it'
        if name in OPTIONS:
            fits, accepted = OPTIONS[name][0]
            if not fits(value):
                raise UserError(f'{where}{name}={value!r} cannot be used; accepted: {accepted}')
            if name.endswith(('token_id', '_tokens')) and OPTIONS[name][0] in (TOKEN, TOKENS):
                bad = [token for token in _several(value) if token >= vocab]
                if bad:
                    accepted = f'tokens 0 to {vocab - 1}'
                    raise UserError(f'{where}{name}={value!r} cannot be used; accepted: {accepted}')
        elif value not in OFF.get(name, ()):
            accepted = ' or '.join(map(repr, (*OFF.get(name, ()), None)))
            raise UserError(f'{where}{name}={value!r} is not here; accepted: {accepted}{without}')
    beams, sampled = values.get('num_beams') or 1, values.get('do_sample')
    for names, used, need in (
        (OF_SAMPLING, sampled, 'do_sample=True'),
        (OF_BEAMS, beams > 1, 'num_beams above 1'),
    ):
        for name in names:
            if not used and wanted.get(name, OPTIONS[name][1]) not in (OPTIONS[name][1], None):
                raise UserError(f'{name}={wanted[name]!r} is used only with {need}')
    if beams > 1 and sampled:
        raise UserError(f'do_sample=True is not here with num_beams={beams}; accepted: 1')


def _several(x: Any) -> tuple[int, ...]:
    return () if x is None else (int(x),) if _whole(x) else tuple(int(t) for t in x)


def _made(v: Mapping[str, Any], prompt: int, longest: int | None, start: int | None) -> Plan:
    beams, copies = v['num_beams'] or 1, v['num_return_sequences'] or 1
    if copies > 1 and not v['do_sample'] and copies > beams:
        accepted = f'at most num_beams ({beams}), or do_sample=True'
        raise UserError(f'num_return_sequences={copies} cannot be used; accepted: {accepted}')
    ends = _several(v['eos_token_id'])
    pad = v['pad_token_id']
    if pad is None and ends:
        pad = ends[0]
    first = next(
        (x for x in (v['decoder_start_token_id'], v['bos_token_id'], start) if x is not None), None
    )
    return Plan(
        how=_how(v, beams),
        constraints=_constraints(v, ends, prompt),
        ends=ends,
        pad=pad,
        start=first,
        copies=copies,
        room=_room(v, prompt, longest),
    )


def _room(v: Mapping[str, Any], prompt: int, longest: int | None) -> int:
    if v['max_new_tokens'] is not None:
        return int(v['max_new_tokens'])
    total = v['max_length']
    if total is None:
        total = min(prompt + 20, longest or prompt + 20)
    if total <= prompt:
        raise UserError(
            f'max_length={total} leaves no room after {prompt} tokens; accepted: more, or '
            'max_new_tokens'
        )
    return int(total - prompt)


def _how(v: Mapping[str, Any], beams: int) -> Sampling | Beam:
    if beams > 1:
        stop = {True: 'full', 'never': 'certain'}.get(v['early_stopping'], 'guess')
        penalty = 1.0 if v['length_penalty'] is None else v['length_penalty']
        return Beam(beams, float(penalty), 'power', stop)
    if not v['do_sample']:
        return Sampling(0.0)
    one = lambda name, off: off if v[name] is None else float(v[name])  # noqa: E731
    return Sampling(one('temperature', 1.0), v['top_k'] or 0, one('top_p', 1.0), one('min_p', 0.0))


def _constraints(v: Mapping[str, Any], ends: tuple[int, ...], prompt: int) -> Constraints:
    biases = v['sequence_bias'] or ()
    biases = biases.items() if isinstance(biases, Mapping) else biases
    banned = [tuple(t) for t in v['bad_words_ids'] or () if [*t] not in [[end] for end in ends]]
    least = max(0, (v['min_length'] or 0) - prompt)
    if v['min_new_tokens'] is not None:
        least = v['min_new_tokens']
    growth = v['exponential_decay_length_penalty']
    once = _several(v['begin_suppress_tokens'])
    return Constraints(
        biases=(
            *((tuple(map(int, tokens)), float(bias)) for tokens, bias in biases),
            *((tuple(map(int, tokens)), -math.inf) for tokens in banned),
        ),
        source_penalty=1 / (v['encoder_repetition_penalty'] or 1.0),
        repetition_penalty=float(v['repetition_penalty'] or 1.0),
        no_repeat=v['no_repeat_ngram_size'] or 0,
        no_repeat_source=v['encoder_no_repeat_ngram_size'] or 0,
        least=least if ends else 0,
        # The original's place 1 of the whole text: a longer prompt has what stands there.
        first=v['forced_bos_token_id'] if prompt == 1 else None,
        last=_several(v['forced_eos_token_id']),
        growth=growth and (int(growth[0]), float(growth[1])),
        suppressed=_several(v['suppress_tokens']),
        suppressed_once=once,
        once=int(bool(once) and prompt == 1 and v['forced_bos_token_id'] is not None),
        normalise=bool(v['renormalize_logits']) and (v['num_beams'] or 1) > 1,
    )
