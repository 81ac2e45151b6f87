"""Makes docs/parity.md of what `test_live.py` measured.

PARITY=parity.jsonl pytest -n 0 tests/hf/test_live.py
python -m tests.hf.parity_table parity.jsonl
"""

import argparse
import json
from pathlib import Path

HEAD = """# Differences from the original

Each row is a small model made by `transformers` with random parameters (none at its initial zero or
one), saved by `save_pretrained`, opened by `hf.load` and called with the same batch of two, the
second row padded. A number is the greatest difference as a share of the original's largest number,
in float32 on a CPU: of what the head gives, of the last hidden state, and of the last hidden state
again through caches, the last five tokens one by one. Every directory was saved by `hf.save` as
well, and opened by `from_pretrained` without missing or unexpected keys, bit-equal.

`tests/hf/test_live.py` writes this page (`tests/hf/parity_table.py` says how); do not edit it.
"""
OUTPUTS = ('logits', 'start_logits', 'end_logits', 'pooler_output')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('records', type=Path, help='what PARITY named')
    parser.add_argument('--to', type=Path, default=Path('docs/parity.md'))
    flags = parser.parse_args()
    lines = flags.records.read_text(encoding='utf-8').splitlines()
    records = {record['name']: record for record in map(json.loads, lines)}
    text, family = [HEAD], ''
    for name in sorted(records):
        record = records[name]
        if name.split('/')[0] != family:
            family = name.split('/')[0]
            text += ['', f'## {family}', '']
            text += ['| class | what is particular | head | hidden | cached |']
            text += ['| --- | --- | --- | --- | --- |']
        head = max((record[key] for key in OUTPUTS if key in record), default=None)
        numbers = (head, record.get('last_hidden_state'), record.get('cached'))
        cells = [record['model'], record['option']]
        cells += ['' if x is None else f'{x:.1e}' for x in numbers]
        text.append(f'| {" | ".join(cells)} |')
    worst = max(value for r in records.values() for value in r.values() if isinstance(value, float))
    text += ['', f'{len(records)} cases; the greatest of all differences is {worst:.1e}.', '']
    flags.to.parent.mkdir(exist_ok=True)
    flags.to.write_text('\n'.join(text), encoding='utf-8')
    print(f'{flags.to}: {len(records)} cases, worst {worst:.1e}')


if __name__ == '__main__':
    main()
