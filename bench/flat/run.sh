#!/bin/sh
# Flat search against faiss-cpu: bench/flat/run.sh [ROWSxDIMS ...]
# PYTHON: an interpreter that has faiss-cpu and numpy (default: a virtual environment made here by pip).
# ROUNDS: measurements of each figure (default: 7).
# FOLDER: where vectors are made (default: build/bench), 6 GB for the two sizes of the table.
set -eu
cd "$(dirname "$0")/../.."
[ -d build ] || meson setup build
ninja -C build bench/flat/bench_flat
FOLDER=${FOLDER:-build/bench}
mkdir -p "$FOLDER"
if [ -z "${PYTHON:-}" ]; then
    PYTHON=.venv/bin/python
    [ -x $PYTHON ] || python3 -m venv .venv
    $PYTHON -c 'import faiss, numpy' 2>/dev/null || .venv/bin/pip install --quiet faiss-cpu numpy
fi
exec "$PYTHON" bench/flat/flat.py build/bench/flat/bench_flat "$FOLDER" "$@"
