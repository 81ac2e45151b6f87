"""From text to batches: sources -> tokenizer -> packing -> batches. Run from the checkout."""
