"""The config.json files of published checkpoints, and how many parameters these have."""

import math

import pytest

from transformer.hf import architecture
from transformer.models.assemble import Sizes
from transformer.summary import parameter_count

BERT = {
    'architectures': ['BertForMaskedLM'],
    'attention_probs_dropout_prob': 0.1,
    'gradient_checkpointing': False,
    'hidden_act': 'gelu',
    'hidden_dropout_prob': 0.1,
    'hidden_size': 768,
    'initializer_range': 0.02,
    'intermediate_size': 3072,
    'layer_norm_eps': 1e-12,
    'max_position_embeddings': 512,
    'model_type': 'bert',
    'num_attention_heads': 12,
    'num_hidden_layers': 12,
    'pad_token_id': 0,
    'position_embedding_type': 'absolute',
    'transformers_version': '4.6.0.dev0',
    'type_vocab_size': 2,
    'use_cache': True,
    'vocab_size': 30_522,
}
ROBERTA = BERT | {
    'architectures': ['RobertaForMaskedLM'],
    'bos_token_id': 0,
    'eos_token_id': 2,
    'layer_norm_eps': 1e-5,
    'max_position_embeddings': 514,
    'model_type': 'roberta',
    'pad_token_id': 1,
    'type_vocab_size': 1,
    'vocab_size': 50_265,
}
XLM_ROBERTA = ROBERTA | {
    'architectures': ['XLMRobertaForMaskedLM'],
    'model_type': 'xlm-roberta',
    'output_past': True,
    'vocab_size': 250_002,
}
DISTILBERT = {
    'activation': 'gelu',
    'architectures': ['DistilBertForMaskedLM'],
    'attention_dropout': 0.1,
    'dim': 768,
    'dropout': 0.1,
    'hidden_dim': 3072,
    'initializer_range': 0.02,
    'max_position_embeddings': 512,
    'model_type': 'distilbert',
    'n_heads': 12,
    'n_layers': 6,
    'pad_token_id': 0,
    'qa_dropout': 0.1,
    'seq_classif_dropout': 0.2,
    'sinusoidal_pos_embds': False,
    'tie_weights_': True,
    'transformers_version': '4.10.0.dev0',
    'vocab_size': 30_522,
}
ALBERT = {
    'architectures': ['AlbertForMaskedLM'],
    'attention_probs_dropout_prob': 0,
    'bos_token_id': 2,
    'classifier_dropout_prob': 0.1,
    'down_scale_factor': 1,
    'embedding_size': 128,
    'eos_token_id': 3,
    'gap_size': 0,
    'hidden_act': 'gelu_new',
    'hidden_dropout_prob': 0,
    'hidden_size': 768,
    'initializer_range': 0.02,
    'inner_group_num': 1,
    'intermediate_size': 3072,
    'layer_norm_eps': 1e-12,
    'max_position_embeddings': 512,
    'model_type': 'albert',
    'net_structure_type': 0,
    'num_attention_heads': 12,
    'num_hidden_groups': 1,
    'num_hidden_layers': 12,
    'num_memory_blocks': 0,
    'pad_token_id': 0,
    'type_vocab_size': 2,
    'vocab_size': 30_000,
}
ELECTRA = BERT | {
    'architectures': ['ElectraForPreTraining'],
    'embedding_size': 128,
    'hidden_size': 256,
    'intermediate_size': 1024,
    'model_type': 'electra',
    'num_attention_heads': 4,
    'summary_activation': 'gelu',
    'summary_last_dropout': 0.1,
    'summary_type': 'first',
    'summary_use_proj': True,
}
# Parameters as the original's library counts them.
PUBLISHED = {
    'bert-base-uncased': (109_514_298, BERT),
    'roberta-base': (124_697_433, ROBERTA),
    'xlm-roberta-base': (278_295_186, XLM_ROBERTA),
    'distilbert-base-uncased': (66_985_530, DISTILBERT),
    'albert-base-v2': (11_221_680, ALBERT),
    'electra-small-discriminator': (13_549_057, ELECTRA),
}


@pytest.mark.parametrize('name', PUBLISHED)
def test_has_as_many_parameters(name):
    count, values = PUBLISHED[name]
    made = architecture.read(values)
    model = made.model(Sizes(vocab=made.config.tokens.vocab, context=made.longest(), unroll=1))
    shapes = architecture.shapes(model)
    assert parameter_count(shapes) == count
    theirs = [piece.their_shape for piece in made.pieces(shapes) for _ in piece.names.flat]
    assert sum(map(math.prod, theirs)) == count
