#!/usr/bin/env bash
# Gradescope runs this once, as root and with network, when it builds the image (Ubuntu 22.04 or newer).
# The interpreter is put where an unprivileged user can run it, the grader where none can read it.
set -euo pipefail

autograder="${AUTOGRADER:-/autograder}"
home="${GENIMG_HOME:-/opt/genimg}"
cd "$autograder/source"

export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -y -q --no-install-recommends bubblewrap ca-certificates python3 python3-venv

# Ubuntu 22.04's own Python is older than the pinned packages ask for; uv brings one that is not.
mkdir -p "$home"
python3 -m venv "$home/uv"
"$home/uv/bin/python" -m pip install --quiet --disable-pip-version-check uv
export UV_PYTHON_INSTALL_DIR="$home/python" UV_CACHE_DIR="$home/cache" UV_LINK_MODE=copy
"$home/uv/bin/uv" venv --quiet --clear --python "${GENIMG_PYTHON:-3.12}" "$home/venv"
"$home/uv/bin/uv" pip install --quiet --python "$home/venv/bin/python" --torch-backend cpu \
  --requirements requirements.txt --constraints constraints.txt
rm -rf "$home/cache"
chmod -R a+rX "$home"

chown -R "$(id -u):$(id -g)" "$autograder/source"
chmod -R u+rwX,go= "$autograder/source"
chmod u+x setup.sh run_autograder
"$home/venv/bin/python" -c "import genimg_ref.grading.grade"
