"""Grade notebooks with otter, one after the other, in the environment that has it: ZIP NOTEBOOK ...

Prints one JSON object: notebook -> points.
"""

import json
import sys

from otter.api import grade_submission

if __name__ == "__main__":
    zip_file, *notebooks = sys.argv[1:]
    points = {path: grade_submission(path, zip_file, quiet=True).total for path in notebooks}
    print(json.dumps(points))
