"""What preflight found, as one dict, and as text."""

from typing import Any

from transformer import summary
from transformer.preflight import hlo, hlo_buffers, memory
from transformer.preflight.memory import Memory
from transformer.preflight.program import Case, Compiled
from transformer.preflight.search import POLICIES

GIB = 2.0**30
DECODE_FLOPS = 'a third of a training token, or 2 N without the encoder'


def of(case: Case, compiled: Compiled) -> dict[str, Any]:
    """The findings on a compiled step; `text` writes them, JSON holds them."""
    state = memory.state_of(compiled.state, compiled.kept)
    kind = case.topology.kind
    if compiled.executable is None:
        found = memory.ran_out(compiled.error, state, kind)
        moved, buffers = None, memory.allocations(compiled.error)
    else:
        text = compiled.executable.as_text()
        found = memory.measured(compiled.executable.memory_analysis(), text, state, kind)
        moved = hlo.by_kind_and_axis(hlo.collectives(text, case.mesh.shape))
        buffers = hlo_buffers.largest(text)
    return common(case, compiled.state, found) | {
        'estimate': False,
        'compile_seconds': round(compiled.seconds, 2),
        'collective_bytes': moved,
        'largest_buffers': [
            {'gib': buffer.bytes / GIB, 'shape': buffer.shape, 'made_by': buffer.made_by}
            for buffer in buffers
        ],
        **arithmetic(case, compiled.state, found, moved),
    }


def common(case: Case, state: Any, found: Memory) -> dict[str, Any]:
    """What is known of a compiled step and of an estimated one."""
    c, kind, devices = case.experiment, case.topology.kind, case.mesh.size
    params = getattr(state, 'params', state)
    sizes = {name: n for name, n in vars(found).items() if name != 'fits'}
    gib = {name: None if n is None else n / GIB for name, n in sizes.items()}
    return {
        'fits': found.fits,
        'verdict': verdict(found, case),
        'topology': case.topology.name,
        'step': 'decode' if case.writes else 'train',
        'parameters': summary.parameter_count(params),
        'hbm_gib': gib.pop('total'),
        'usable_hbm_gib': gib.pop('capacity'),
        'chip_hbm_gib': kind.memory / kind.devices / GIB,
        'headroom_gib': (found.capacity - found.total) / GIB,
        'memory_gib': gib,
        'chips': case.topology.chips,
        'devices': devices,
        'devices_per_chip': devices // case.topology.chips,
        'mesh': dict(case.mesh.shape),
        'batch_size': c.batch_size,
        'context': c.context,
        'remat': c.remat,
        'assumed': list(case.task.assumed),
    }


def verdict(found: Memory, case: Case) -> str:
    """One line; where it does not fit, by how much and what helps."""
    left = found.capacity - found.total
    if found.fits:
        return f'fits, with {left / GIB:.2f} GiB to spare ({left / found.capacity:.0%})'
    if left >= 0:
        return f'does not fit; the compiler does not say by how much; what helps: {_hints(case)}'
    return (
        f'does not fit, by {-left / GIB:.2f} GiB: {found.total / GIB:.2f} GiB needed, or more, of '
        f'{found.capacity / GIB:.2f}; what helps: {_hints(case)}'
    )


def _hints(case: Case) -> str:
    if case.writes:
        return 'a smaller config.batch_size or config.context, a larger config.mesh.tensor'
    heavier = POLICIES[POLICIES.index(case.experiment.remat) + 1 :]
    spread = 'a larger config.mesh.fsdp' if case.mesh.size > 1 else 'more chips'
    hints = [spread, 'a smaller config.batch_size']
    if heavier:
        hints.insert(1, f'config.remat={" or ".join(heavier)}')
    return ', '.join(hints)


def arithmetic(case: Case, state: Any, found: Memory, moved: Any) -> dict[str, Any]:
    """FLOPs, and what they are to the bytes that a device moves."""
    row = _flops_of_token if case.writes else summary.flops_per_row
    flops = case.experiment.batch_size * row(getattr(state, 'params', state), case.model.config)
    each = flops / case.mesh.size
    kind = case.topology.kind
    exchanged = sum(sum(axes.values()) for axes in moved.values()) if moved else 0
    touched = 0
    if found.arguments is not None:
        made = found.temporaries + found.activations
        touched = found.arguments + found.outputs + 2 * made  # what is made is read again
    return {
        'flops': flops,
        'flops_formula': DECODE_FLOPS if case.writes else summary.FLOPS_FORMULA,
        'flops_per_device': each,
        'seconds_at_peak': each / kind.peak,
        'flops_per_byte_exchanged': each / exchanged if exchanged else None,
        'flops_per_byte_of_memory': each / touched if touched else None,
        'balance_exchanged': kind.peak * kind.devices / kind.network,
        'balance_memory': kind.peak * kind.devices / kind.bandwidth,
    }


def _flops_of_token(params: Any, config: Any) -> float:
    """Of a token that is written with all keys there: a third of training's, without a backward
    pass. An encoder-decoder's encoder has run already: 2 FLOPs a parameter of the rest.
    """
    if not hasattr(config, 'encoder'):
        return summary.flops_per_row(params, config) / 3 / config.context
    rest = {name: part for name, part in params.items() if not name.startswith('encoder')}
    return 2.0 * summary.parameter_count(rest)


def text(found: dict[str, Any]) -> str:
    """The findings as aligned lines."""
    f, m = found, found['memory_gib']
    half = ' (half a chip)' if f['devices_per_chip'] == 2 else ''
    mesh = ', '.join(f'{axis} {size}' for axis, size in f['mesh'].items() if size > 1) or 'all 1'
    each = f'{f["devices"]:,} devices, {f["devices_per_chip"]} a chip'
    devices = f'{f["chips"]:,} chip{"s" * (f["chips"] > 1)}' + (f' ({each})' if half else '')
    remat = '' if f['step'] == 'decode' else f', remat {f["remat"]}'
    lines = [
        f'topology       {f["topology"]}: {devices}',
        f'mesh           {mesh}',
        f'step           {f["step"]}: {f["batch_size"]:,} rows of {f["context"]:,}{remat}',
    ]
    lines += [f'assumed        {phrase}' for phrase in f['assumed']]
    if f['estimate']:
        lines.append('ESTIMATE       nothing was compiled: there is no compiler for GPUs here')
    lines.append(f'parameters     {f["parameters"]:,}')
    lines += [f'memory         GiB of a device{half}']
    lines += [
        f'  {name:<14} {m[key]:>9.3f}  {what}'.rstrip()
        for key, (name, what) in PARTS.items()
        if m[key] is not None and (m[key] or key in ('parameters', 'arguments', 'temporaries'))
    ]
    lines.append(
        f'  {"together":<14} {f["hbm_gib"]:>9.3f}  of {f["usable_hbm_gib"]:.2f} that a program may '
        f'have ({f["chip_hbm_gib"]:.2f} in all), headroom {f["headroom_gib"]:.3f}'
    )
    lines += _flops_lines(f) + ([] if f['estimate'] else _compiled_lines(f))
    lines.append(f'verdict        {f["verdict"]}')
    return '\n'.join(lines)


# What takes a device's memory, and of the arguments what they are; the host's is not counted.
PARTS = {
    'arguments': ('arguments', 'state and batch, as they lie in memory; of them'),
    'parameters': ('  parameters', ''),
    'optimizer': ('  optimizer', ''),
    'kept': ('  caches', ''),
    'outputs': ('outputs', 'not written over arguments'),
    'activations': ('activations', 'that the layers keep for the backward pass'),
    'temporaries': ('temporaries', 'gradients, logits, working room'),
    'code': ('code', ''),
    'host': ('host', "of the host's memory, not counted"),
}


def _flops_lines(f: dict[str, Any]) -> list[str]:
    lines = [
        f'FLOPs          {f["flops"]:.4g} a step, {f["flops_per_device"]:.4g} a device: '
        f'{f["seconds_at_peak"] * 1e3:.3g} ms at peak ({f["flops_formula"]})'
    ]
    for name, what, balance in (
        (
            'flops_per_byte_of_memory',
            'its memory (what is given once, what is made twice)',
            'memory',
        ),
        ('flops_per_byte_exchanged', 'what it exchanges', 'exchanged'),
    ):
        if f[name]:
            lines.append(
                f'arithmetic     {f[name]:,.0f} FLOPs a byte of {what}; below '
                f'{f["balance_" + balance]:,.0f} the bytes take longer'
            )
    return lines


def _compiled_lines(f: dict[str, Any]) -> list[str]:
    lines = []
    if f['collective_bytes'] is not None:
        moved = [
            f'  {kind:<25} {size / 2**20:>12,.2f}  along {axes}'
            for kind, along in f['collective_bytes'].items()
            for axes, size in along.items()
        ]
        lines += [
            'collectives    MiB of a device, a step' if moved else 'collectives    none',
            *moved,
        ]
    if f['largest_buffers']:
        lines.append('buffers        the largest, GiB')
    lines += [
        f'  {one["gib"]:>9.3f}  {one["shape"]}  {one["made_by"]}' for one in f['largest_buffers']
    ]
    lines.append(f'compiled       in {f["compile_seconds"]:.1f} s')
    return lines
