# Everything happens in .venv, which the first target that needs it fills (once per change of the files it depends on).

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check
READY := .venv/.ready

.PHONY: setup demo serve test test-slow smoke bench lint docs results coverage clean

setup: $(READY)

# PyTorch first. Its plain wheel on Linux brings CUDA along, some gigabytes; on a machine without a GPU, make .venv and
# install torch==2.13.0 from PyTorch's CPU index yourself, and `make setup` goes on from there.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) install -c constraints.txt torch==2.13.0
	$(PIP) install -c constraints.txt -e '.[dev,docs]'
	@touch $@

demo: setup
	$(BIN)/uniaudio models pull small
	$(BIN)/python examples/demo.py

# The HTTP API and the page at http://127.0.0.1:8000.
serve: setup
	$(BIN)/uniaudio models pull small
	$(BIN)/uniaudio serve

test: lint
	$(BIN)/uniaudio models pull tiny
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n auto --dist worksteal

test-slow: setup
	$(BIN)/uniaudio models pull tiny
	$(BIN)/uniaudio models pull small
	$(BIN)/python -m pytest

# The page of `uniaudio serve` in headless Chromium; skipped where it or chromedriver is missing.
smoke: setup
	$(BIN)/uniaudio models pull tiny
	$(BIN)/python -m pytest -rs tests/serve/test_smoke.py

# Those in the second line need clips, and are left out where UNIAUDIO_TEST_DATA names none.
bench: setup
	$(BIN)/uniaudio models pull small
	set -e; for script in codec "codec --shipped" lm random_logits streaming; do \
		set -- $$script; $(BIN)/python benchmarks/$$1.py $$2; done
	set -e; test -z "$$UNIAUDIO_TEST_DATA" || for script in folder "label_speed $$UNIAUDIO_TEST_DATA/data/esc10"; do \
		set -- $$script; $(BIN)/python benchmarks/$$1.py $$2; done

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/mypy

# The site, from docs/ into site/; a broken link fails.
docs: setup
	$(BIN)/python docs/build.py
	$(BIN)/zensical build --strict --clean

# Tables of docs/ and the README from the committed results of `uniaudio eval`; CI checks that nothing changes.
results: setup
	$(BIN)/python docs/make_results.py
	$(BIN)/python docs/make_answers.py
	$(BIN)/python docs/make_enhancement.py

coverage: setup
	$(BIN)/uniaudio models pull small
	$(BIN)/python -m pytest -m "not slow" --cov=uniaudio_cli --cov-report=term:skip-covered

clean:
	rm -rf build dist site demo-output .pytest_cache .mypy_cache .ruff_cache
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +
