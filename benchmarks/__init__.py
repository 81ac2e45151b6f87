"""Ours and a peer on one machine, in turns, as a ratio. Each is run as `python -m benchmarks.NAME`.

- train: a training step against PyTorch's; `--model`, `--profile`.
- decode: tokens/s against `generate` of transformers; `--batch`, `--quantize`, `--profile`.
- long_context: time and memory of a training step at growing lengths.
- checkpoint: saving and restoring against torch.save and torch.load.
- load: a Hugging Face checkpoint against `from_pretrained`.
- compile: 48 layers against 12; `--topology` for TPUs that are not here.
- data: the data path, each part beside its yardstick.
- machine: what the machine multiplies and copies; train and decode measure it first.
- record: rows for the README of what `--json=FILE` of the others wrote.

Peers are imported, never copied: pip install torch==2.13.0 transformers. Without them ours runs
alone, and says so.
"""
