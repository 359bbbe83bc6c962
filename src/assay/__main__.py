"""`python -m assay` is `assay`."""

import os
import sys

from assay.cli import main

code = main()
if int(os.environ.get("WORLD_SIZE", "1")) > 1:
    # A rank leaves at once: gloo's threads may still hold tensors, and abort if they let go of them while the interpreter shuts down.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
sys.exit(code)
