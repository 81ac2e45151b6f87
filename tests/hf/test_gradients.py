"""The gradient of a loss against the original's, of every parameter by the table of its family."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.hf.cases import all_cases
from transformer import hf, losses, paths
from transformer.hf import inputs as hf_inputs
from transformer.hf.pretrained import forward

torch = pytest.importorskip(
    'torch', reason='compares with torch and transformers: pip install both'
)
pytest.importorskip('transformers', reason='compares with transformers: pip install it')

from tests.hf import original  # noqa: E402

NAMES = (
    'gpt2/lm',
    'bert/masked',
    'bert/classes',
    'albert/pairs',
    'albert/groups',
    'llama/lm',
    't5/lm',
    'vit/classes',
)
NEAR_ZERO = 1e-4  # of the largest number of all gradients


def weights_of(given, shape) -> np.ndarray:
    """1 where the loss counts a score, 0 at padding."""
    mask = given.get('decoder_attention_mask', given.get('attention_mask'))
    return (mask if mask is not None and mask.shape == shape else np.ones(shape)).astype(np.float32)


def theirs(model, given):
    """The mean cross-entropy with random targets, and these; the model then holds its gradient."""
    logits = model(**{name: torch.tensor(x) for name, x in given.items()}).logits
    targets = np.random.default_rng(1).integers(0, logits.shape[-1], logits.shape[:-1])
    weights = torch.tensor(weights_of(given, targets.shape))
    each = torch.nn.functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]), torch.tensor(targets).reshape(-1), reduction='none'
    )
    loss = (each * weights.reshape(-1)).sum() / weights.sum()
    loss.backward()
    with torch.no_grad():
        for x in model.parameters():
            x.copy_(x.grad)
    return float(loss.detach()), targets


def ours(pretrained, given, targets):
    """The same loss and its gradient."""
    made, weights = pretrained.architecture, weights_of(given, targets.shape)
    batch = hf_inputs.batch_of(made, given)

    def loss(params):
        out = forward(pretrained.model, made.head.kind, made.shape, params, batch)
        total, _ = losses.cross_entropy(out.logits, jnp.asarray(targets), jnp.asarray(weights))
        return total / weights.sum()

    return jax.jit(jax.value_and_grad(loss))(pretrained.params)


@pytest.mark.live
@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('name', NAMES)
def test_equals_the_original(name, tmp_path):
    torch.set_num_threads(1)
    case = all_cases()[name]
    model = original.make(case)
    original.save(case, model, tmp_path / 'parameters')
    given = original.inputs(case, model)
    their_loss, targets = theirs(model, given)
    # A checkpoint whose tensors are gradients: the table that maps the parameters maps them.
    original.save(case, model, tmp_path / 'gradients')
    expected = paths.leaves(hf.load(tmp_path / 'gradients', dtype='float32').params)
    loss, found = ours(hf.load(tmp_path / 'parameters', dtype='float32'), given, targets)
    assert float(loss) == pytest.approx(their_loss, rel=1e-5)
    largest = {path: float(jnp.abs(x).max()) for path, x in expected.items()}
    floor = NEAR_ZERO * max(largest.values())
    for path, x in paths.leaves(found).items():
        difference = float(jnp.abs(x - expected[path]).max()) / max(largest[path], floor)
        assert difference <= 1e-3, f'{path} differs by {difference:.1e}'
    # Exactly those are near 0 that must be: a bias of keys moves all scores of a query alike.
    near = {path for path, x in largest.items() if x < floor}
    assert near == {path for path in largest if path.endswith('mixer/key/bias')}
