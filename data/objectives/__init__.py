"""From columns to rows: one file an objective.

Each has `split(experiment, examples, tokenizer, plans)`; `plans` is where it may keep which records
share a row.
"""

from data.objectives import (
    chat,
    classification,
    denoising,
    fill_in_middle,
    image_classification,
    masked,
    next_token,
    prefix,
    seq2seq,
    span_corruption,
    token_classification,
)

SPLITS = {
    'next_token': next_token.split,
    'prefix': prefix.split,
    'fill_in_middle': fill_in_middle.split,
    'masked': masked.split,
    'span_corruption': span_corruption.split,
    'denoising': denoising.split,
    'seq2seq': seq2seq.split,
    'classification': classification.split,
    'chat': chat.split,
    'token_classification': token_classification.split,
    'image_classification': image_classification.split,
}
