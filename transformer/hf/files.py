"""The files of a Hugging Face directory. Only JSON, safetensors and templates are ever read."""

import contextlib
import json
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from transformer.errors import UserError
from transformer.hf import direct
from transformer.hf.direct import DirectFile

CONFIG, GENERATION = 'config.json', 'generation_config.json'
WEIGHTS, INDEX = 'model.safetensors', 'model.safetensors.index.json'
SHARD_BYTES = 5 * 10**9
# Beside the weights: what a copy of a directory keeps.
COPIED = (
    'preprocessor_config.json',
    'processor_config.json',
    GENERATION,
)


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
      UserError: the file is missing, damaged or holds something else.
    """
    try:
        found = json.loads(file.read_text(encoding='utf-8'))
    except FileNotFoundError:
        raise UserError(f'there is no {file}') from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f'{file} cannot be read: {error}') from None
    if not isinstance(found, dict):
        raise UserError(f'{file} holds a {type(found).__name__}; accepted: a JSON object')
    return found


def locate(path: str | Path, revision: str | None = None) -> Path:
    """The directory of a checkpoint; a hub id such as 'openai-community/gpt2' is fetched first.

    Raises:
      UserError: there is neither, or the hub cannot be reached.
    """
    if len(str(path)) > 4000:
        raise UserError(f'there is no directory {str(path)[:80]}...')
    directory = Path(path).expanduser()
    if directory.is_dir() and revision is not None:
        raise UserError(f'revision={revision!r} is of a hub id; {path} is a directory')
    if directory.is_dir():
        if not (directory / CONFIG).is_file():
            raise UserError(f'{directory} is no checkpoint: it has no {CONFIG}')
        return directory
    if directory.exists() or not re.fullmatch(r'[\w.-]+(/[\w.-]+)?', str(path)):
        raise UserError(f'there is no directory {path}')
    try:
        import huggingface_hub
    except ImportError:
        raise UserError(
            f'there is no directory {path}; to fetch it from the Hugging Face hub: '
            "pip install 'transformer[hf]'"
        ) from None
    wanted = ['*.json', '*.safetensors', '*.jinja', '**/*.jinja', 'vocab.txt', 'merges.txt']
    try:
        return Path(
            huggingface_hub.snapshot_download(
                str(path), revision=revision, allow_patterns=wanted, etag_timeout=10
            )
        )
    except Exception as error:  # many kinds: no network, no such repository, no permission
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f'there is no directory {path}, and the hub did not give one of that name: {line}'
        ) from None


class Tensors:
    """The tensors of a directory, read one by one.

    Args:
      directory: with `model.safetensors`, or its shards and their index.

    Raises:
      UserError: a missing, truncated or corrupt file; weights in another format; an index that
        leads out of the directory.
    """

    def __init__(self, directory: Path):
        self._directory = directory
        self._stack = contextlib.ExitStack()
        self._files: dict[str, tuple[Any, DirectFile]] = {}
        self._scratch = threading.local()
        self._names: dict[str, tuple[str, str]] = {}  # name -> (file, name in it)
        self._made: dict[str, np.ndarray] = {}
        for file, expected in self._listed().items():
            held = set(self._open(file)[0].keys())
            for name in sorted(expected - held):
                raise UserError(f'{directory / file} lacks tensor {name!r}, which {INDEX} lists')
            for name in sorted(held):
                if _modern(name) in self._names:
                    name, other = _modern(name), self._names[_modern(name)][0]
                    raise UserError(f'{directory}: {name!r} is there twice, in {other} and {file}')
                self._names[_modern(name)] = file, name

    def _listed(self) -> dict[str, set[str]]:
        """The files that hold tensors, and which these must be."""
        if (self._directory / WEIGHTS).is_file():
            return {WEIGHTS: set()}
        index = self._directory / INDEX
        if not index.is_file():
            self._refuse()
        weight_map = read_json(index).get('weight_map')
        if not isinstance(weight_map, dict):
            raise UserError(f"{index} has no 'weight_map'")
        listed: dict[str, set[str]] = {}
        for name, file in weight_map.items():
            if not isinstance(file, str) or Path(file).name != file or file in ('', '.', '..'):
                raise UserError(
                    f'{index}: tensor {name!r} is in {file!r}; accepted: a file of that directory'
                )
            if not (self._directory / file).is_file():
                raise UserError(f'{self._directory} lacks {file}, which {INDEX} lists')
            listed.setdefault(file, set()).add(name)
        return listed

    def _refuse(self) -> None:
        patterns = ('*.bin', '*.pt', '*.pth', '*.ckpt', '*.h5', '*.msgpack')
        others = sorted(p.name for pattern in patterns for p in self._directory.glob(pattern))
        if not others:
            raise UserError(f'{self._directory} has no {WEIGHTS} and no {INDEX}')
        raise UserError(
            f'{self._directory} has its weights in {others[0]}, which could run code when it is '
            f'read; accepted: {WEIGHTS}. To convert it where torch and transformers are: python -c '
            f'"import transformers as t; t.AutoModelForPreTraining.from_pretrained('
            f"'{self._directory}').save_pretrained('DIR')\""
        )

    def _open(self, file: str) -> tuple[Any, DirectFile]:
        if file not in self._files:
            try:
                opened = safetensors.safe_open(self._directory / file, 'np', backend='pread')
                self._stack.enter_context(opened)
                bare = DirectFile(self._directory / file)
                self._stack.callback(bare.close)
                self._files[file] = opened, bare
            except Exception as error:  # SafetensorError, OSError
                raise UserError(
                    f'{self._directory / file} is truncated or corrupt: {error}'
                ) from None
        return self._files[file]

    def names(self) -> list[str]:
        """All tensors."""
        return sorted(self._names)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a tensor; nothing is read."""
        if name in self._made:
            return self._made[name].shape
        return tuple(self._slice(name).get_shape())

    def dtype(self, name: str) -> str:
        """Of a tensor as safetensors calls it, such as 'F32'."""
        if name in self._made:  # as what the files hold
            name = next(iter(self._names))
        return self._slice(name).get_dtype()

    def _slice(self, name: str) -> Any:
        file, inside = self._names[name]
        return self._open(file)[0].get_slice(inside)

    def read(self, name: str) -> np.ndarray:
        """A tensor."""
        if name in self._made:
            return self._made[name]
        file, inside = self._names[name]
        return self._open(file)[0].get_tensor(inside)

    def read_into(self, name: str, out: np.ndarray) -> None:
        """A tensor into `out`, contiguous and of its type and size."""
        if name in self._made:
            out[...] = self._made[name].reshape(out.shape)
            return
        file, inside = self._names[name]
        self._open(file)[1].read_into(inside, out)

    def borrow(self, name: str) -> np.ndarray:
        """A tensor in memory that this thread's next call takes again."""
        kind = direct.DTYPES.get(self.dtype(name))
        if name in self._made or kind is None:
            return self.read(name)
        shape = self.shape(name)
        size = int(np.prod(shape)) * kind.itemsize
        memory = getattr(self._scratch, 'memory', None)
        if memory is None or memory.size < size:
            memory = self._scratch.memory = np.empty(size, np.uint8)
        out = memory[:size].view(kind).reshape(shape)
        self.read_into(name, out)
        return out

    def alias(self, name: str, other: str) -> None:
        """Another name for a tensor."""
        self._names[name] = self._names[other]

    def add(self, name: str, tensor: np.ndarray) -> None:
        """A tensor that no file holds."""
        self._made[name] = tensor

    def __contains__(self, name: str) -> bool:
        return name in self._names or name in self._made

    def close(self) -> None:
        """Closes the files."""
        self._stack.close()

    def __enter__(self) -> 'Tensors':
        return self

    def __exit__(self, *_) -> None:
        self.close()


def _modern(name: str) -> str:
    """TensorFlow's names of a norm's parameters, which the first BERT checkpoints have, as ours."""
    name = re.sub(r'(?i)(norm)\.gamma$', r'\1.weight', name)
    return re.sub(r'(?i)(norm)\.beta$', r'\1.bias', name)


@contextlib.contextmanager
def made_whole(directory: Path) -> Iterator[Path]:
    """A new directory to write in, which takes its name only once all is written.

    Raises:
      UserError: the name is taken by something that is not empty.
    """
    directory = Path(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UserError(f'{directory} is there already; accepted: a new or an empty directory')
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f'.{directory.name}.', dir=directory.parent))
        temporary.chmod(0o755)
    except OSError as error:
        raise UserError(f'{directory} cannot be written: {error.strerror or error}') from None
    try:
        yield temporary
        if directory.exists():
            directory.rmdir()
        temporary.rename(directory)
    except OSError as error:
        raise UserError(f'{directory} cannot be written: {error.strerror or error}') from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_tensors(
    directory: Path,
    sizes: Mapping[str, int],
    read: Any,
    limit: int = SHARD_BYTES,
) -> None:
    """Writes tensors as safetensors, one shard in memory at a time.

    Args:
      sizes: bytes of each tensor by name, in the order in which they are written.
      read: function from names to their arrays, a dict; called once for each shard.
      limit: bytes of a shard; a tensor that is larger has one of its own.
    """
    shards: list[list[str]] = [[]]
    room = limit
    for name, size in sizes.items():
        if size > room and shards[-1]:
            shards.append([])
            room = limit
        shards[-1].append(name)
        room -= size
    weight_map = {}
    for i, names in enumerate(shards):
        single = len(shards) == 1
        file = WEIGHTS if single else f'model-{i + 1:05d}-of-{len(shards):05d}.safetensors'
        arrays = {name: np.ascontiguousarray(x) for name, x in read(names).items()}
        safetensors.numpy.save_file(arrays, directory / file, metadata={'format': 'pt'})
        weight_map |= dict.fromkeys(names, file)
    if len(shards) > 1:
        index = {'metadata': {'total_size': sum(sizes.values())}, 'weight_map': weight_map}
        (directory / INDEX).write_text(json.dumps(index, indent=2) + '\n', encoding='utf-8')
