"""Text from a checkpoint, in the manner of the original's `generate`.

B rows, P slots of the prompts, S of the sources, M new tokens, W beams.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformer import beam, decode, seq2seq
from transformer.beam import Beam
from transformer.errors import UserError
from transformer.hf import generation_config, inputs
from transformer.hf.architecture import Architecture
from transformer.hf.generation_config import Plan
from transformer.hf.settings import Settings
from transformer.positions import LearnedConfig
from transformer.scores import adjuster

# What reads the tokens that are continued.
EMBED = {'decoder': 'embed', 'encoder_decoder': 'decoder_embed'}


def generate(
    pretrained: Any,
    input_ids: Any,
    attention_mask: Any = None,
    *,
    decoder_input_ids: Any = None,
    seed: int = 0,
    **options: Any,
) -> np.ndarray:
    """The original's: a row for each text, int64, filled up with the padding token.

    A decoder's rows are its prompts and what follows them, an encoder-decoder's are what the
    decoder read first and what follows it.

    Args:
      input_ids: [B, P]. A decoder's prompts are padded on the left.
      attention_mask: 0 for padding. Where a decoder has none, the padding token counts as padding,
        unless it also ends a text.
      decoder_input_ids: what the decoder's texts begin with; the start token is put before.
      seed: of what is drawn.
      options: of `generation_config.OPTIONS`; those that are not given are as
        generation_config.json says, or config.json, where there is no such file.

    Raises:
      UserError: a model that writes no text; an option, a shape or a token that cannot be used; a
        text longer than the model's table of places.
    """
    made: Architecture = pretrained.architecture
    if made.shape not in EMBED or made.head.kind != 'tokens':
        kinds = ', '.join(name for name, h in made.family.heads.items() if h.kind == 'tokens')
        raise UserError(f'{made.name} writes no text; accepted: {kinds or "a language model"}')
    names = {'input_ids': input_ids, 'attention_mask': attention_mask}
    if made.shape == 'decoder':
        if decoder_input_ids is not None:
            raise UserError(f'decoder_input_ids is no input of {made.name}')
        given = _prompts(pretrained, names, options)
    else:
        given = _sources(pretrained, names, decoder_input_ids, options)
    first_BP, plan, arrays = given
    _check_places(made, arrays, plan)
    first_RP = np.repeat(first_BP, plan.copies, 0)
    beams = isinstance(plan.how, Beam)
    if not beams:
        arrays = {name: np.repeat(x, plan.copies, 0) for name, x in arrays.items()}
    write = _continue if made.shape == 'decoder' else _rewrite
    key = jax.random.key(seed)
    model, params = pretrained.writing()
    new = np.asarray(write(params, key, **arrays, model=model, plan=plan))
    if beams:
        new = new[:, : plan.copies].reshape(-1, plan.room)
    new = new[:, : max(1, int((new >= 0).sum(1).max()))]
    if plan.pad is not None:
        new = np.where(new < 0, plan.pad, new)
    return np.concatenate([first_RP, new], 1).astype(np.int64)


def _plan(pretrained: Any, options: Mapping[str, Any], prompt: int) -> Plan:
    made: Architecture = pretrained.architecture
    longest = pretrained.config.get('max_position_embeddings')
    longest = longest or _places(made, EMBED[made.shape])
    start = made.family.start
    return generation_config.plan(
        pretrained.generation,
        pretrained.config,
        options,
        prompt,
        made.config.tokens.vocab,
        longest,
        start and start(Settings(made.values)),
    )


def _prompts(pretrained: Any, names: Mapping[str, Any], options: Mapping[str, Any]):
    """The prompts as they were given, the plan and what `_continue` reads."""
    made = pretrained.architecture
    batch = inputs.batch_of(made, names)
    tokens_BP, mask_BP = batch['inputs'], batch['segment_ids']
    plan = _plan(pretrained, options, tokens_BP.shape[1])
    if names['attention_mask'] is None and plan.pad is not None and plan.pad not in plan.ends:
        mask_BP = (tokens_BP != plan.pad).astype(np.int32)
    if not mask_BP[:, -1].all():
        row = int(np.argmin(mask_BP[:, -1]))
        raise UserError(
            f'attention_mask: row {row} ends with padding, or has nothing else; accepted: prompts '
            "padded on the left (padding_side='left')"
        )
    slots = int(mask_BP.any(0)[::-1].nonzero()[0].max()) + 1
    room = ((0, 0), (_width(slots, _places(made, 'embed')) - slots, 0))
    arrays = {'tokens_BP': tokens_BP[:, -slots:], 'mask_BP': mask_BP[:, -slots:]}
    return tokens_BP, plan, {name: np.pad(x, room) for name, x in arrays.items()}


def _sources(pretrained: Any, names: Mapping[str, Any], head: Any, options: Mapping[str, Any]):
    """What the decoder reads first, the plan and what `_rewrite` reads."""
    made = pretrained.architecture
    B = len(np.atleast_1d(names['input_ids']))
    first_BP = np.zeros((B, 0), np.int32)
    if head is not None:
        first_BP = np.asarray(head)
        if first_BP.ndim != 2 or first_BP.shape[0] != B:
            raise UserError(
                f'decoder_input_ids have shape {first_BP.shape}; accepted: ({B}, length)'
            )
    # Its length says how long the text may be, which the start token adds to.
    first = _plan(pretrained, options, 1).start
    if first is None:
        raise UserError(f'{made.name} has no decoder_start_token_id; accepted: a token')
    if not first_BP.shape[1] or (first_BP[:, 0] != first).all():
        first_BP = np.concatenate([np.full((B, 1), first), first_BP], 1)
    batch = inputs.batch_of(made, {**names, 'decoder_input_ids': first_BP.astype(np.int32)})
    plan = _plan(pretrained, options, first_BP.shape[1])
    slots = batch['inputs'].shape[1]
    room = ((0, 0), (0, _width(slots, _places(made, 'encoder_embed')) - slots))
    arrays = {
        'tokens_BS': np.pad(batch['inputs'], room),
        'mask_BS': np.pad(batch['segment_ids'], room),
        'first_BP': batch['decoder_inputs'],
    }
    return first_BP, plan, arrays


def _width(slots: int, places: int | None) -> int:
    """A power of two, if there are as many places: similar lengths share one compiled program."""
    if places is not None and slots > places:
        raise UserError(f"input_ids are {slots} wide; accepted: the model's {places} places")
    return min(1 << (slots - 1).bit_length(), places or 1 << slots)


def _places(made: Architecture, name: str) -> int | None:
    """Rows of a learned table of places, or None."""
    positions = getattr(made.config, name).positions
    return positions.length if isinstance(positions, LearnedConfig) else None


def _check_places(made: Architecture, arrays: Mapping[str, np.ndarray], plan: Plan) -> None:
    places = _places(made, EMBED[made.shape])
    longest = arrays['mask_BP'].sum(1).max() if 'mask_BP' in arrays else arrays['first_BP'].shape[1]
    # The last token is made, but not read.
    if places is not None and longest + plan.room - 1 > places:
        raise UserError(
            f'a prompt of {longest} tokens and {plan.room} new ones (max_new_tokens) do not fit '
            f"into the model's {places} places; accepted: max_new_tokens up to "
            f'{places - longest + 1}'
        )


@functools.partial(jax.jit, static_argnames=('model', 'plan'))
def _continue(params, key, tokens_BP, mask_BP, *, model: Any, plan: Plan) -> jax.Array:
    slots = tokens_BP.shape[1] + plan.room
    state = decode.prefill(model, False, params, tokens_BP, mask_BP, slots=slots, length=plan.room)
    prompt_BP = jnp.where(mask_BP > 0, tokens_BP, -1)
    return _write(model, plan, params, key, state, prompt_BP, prompt_BP)


@functools.partial(jax.jit, static_argnames=('model', 'plan'))
def _rewrite(params, key, tokens_BS, mask_BS, first_BP, *, model: Any, plan: Plan) -> jax.Array:
    state = seq2seq.begin(model, params, tokens_BS, mask_BS, first_BP, plan.room)
    source_BS = jnp.where(mask_BS > 0, tokens_BS, -1)
    return _write(model, plan, params, key, state, first_BP, source_BS)


def _write(model, plan: Plan, params, key, state, prompt_BP, source_BS) -> jax.Array:
    """New tokens [B, M], of a beam search [B, W, M]; -1 where a text has ended."""
    width = plan.how.width if isinstance(plan.how, Beam) else 1
    prompt_RP, source_RS = (jnp.repeat(x, width, 0) for x in (prompt_BP, source_BS))
    adjust = adjuster(plan.constraints, plan.ends, prompt_RP, source_RS, plan.room)
    if isinstance(plan.how, Beam):
        return beam.search(model, params, state, plan.ends, plan.how, adjust)[0]
    run = (plan.how, plan.ends, params, key, state, 0, plan.room, adjust)
    return decode.advance(model, *run).tokens_BM
