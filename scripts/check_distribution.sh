#!/usr/bin/env bash
# Build the sdist, and the wheel out of it, check both, and use the wheel as a stranger would: in an
# empty environment and an empty folder, with nothing of the checkout.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3.11}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m venv "$work/tools"
"$work/tools/bin/pip" install --quiet 'build>=1.2' 'twine>=6.1' 'check-wheel-contents>=0.6'
git archive --prefix=source/ HEAD | tar -x -C "$work"
"$work/tools/bin/python" -m build --outdir "$work/dist" "$work/source" >"$work/build.log" 2>&1 ||
    { cat "$work/build.log"; exit 1; }
"$work/tools/bin/twine" check --strict "$work"/dist/*
"$work/tools/bin/check-wheel-contents" "$work"/dist/*.whl
tar -tf "$work"/dist/*.tar.gz | sed -n 's|^[^/]*/||p' | sort >"$work/packed"
# The sdist is the checkout, but for what only a checkout needs.
git ls-files | grep -vE '^\.(ci|gitignore)' | sort | comm -23 - "$work/packed" | sed 's/^/not in the sdist: /' |
    grep . && exit 1

"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "$work"/dist/*.whl
mkdir "$work/empty"
cd "$work/empty"
PATH="$work/venv/bin:$PATH"
isoklx simulate outputs
isoklx aggregate outputs --out figs
isoklx verify figs/outputs.nc --root outputs
python -c 'import isoklx; print(isoklx.open_sweep("figs/outputs.nc").kl.sizes)'
ls figs/figure1_band.png
