"""Names of what a rematerialisation policy may keep for the backward pass (`stack.REMAT`)."""

ATTENTION = 'attention'  # what an attention kernel's backward pass needs of its results
BRANCH = 'branch'  # what a branch of a block adds to the residual stream
LAYER = 'layer'  # what a repeat of a pipeline reads
