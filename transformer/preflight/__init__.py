"""Whether an experiment fits devices that are not here: `preflight.py` at the top of the checkout.

`topology.py` knows the devices, `task.py` the batch, `program.py` compiles, `hlo.py` reads what the
compiler wrote, `memory.py` what it measured, `report.py` says it. GPUs are estimated: `gpu.py`.
"""
