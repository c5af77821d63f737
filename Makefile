# Each target sets up its own environment from nothing and uses it again next time.
PYTHON ?= python3
DEV := .venv
BARE := .venv-runtime
USER := .venv-demo
PIP := pip install --quiet --disable-pip-version-check

.PHONY: demo test lint types imports unit runtime clean

demo: $(USER)/ready
	$(USER)/bin/stapes run examples/demo.wav --models kws --plot demo.png
	@echo "Timeline: demo.png    Now speak: .venv-demo/bin/stapes listen"

test: lint types imports unit runtime

lint: $(DEV)/ready
	$(DEV)/bin/ruff check
	$(DEV)/bin/ruff format --check

types: $(DEV)/ready
	$(DEV)/bin/mypy

imports: $(DEV)/ready
	$(DEV)/bin/lint-imports

unit: $(DEV)/ready
	$(DEV)/bin/python -m pytest -q

# The device's promise: numpy and onnxruntime are enough.
runtime: $(BARE)/ready
	STAPES_BARE=1 $(BARE)/bin/python -P -m pytest -q tests/contract tests/runtime -p no:cacheprovider

$(DEV)/ready: pyproject.toml
	$(PYTHON) -m venv $(DEV)
	$(DEV)/bin/$(PIP) -e '.[train,mic,files,plot,dev]'
	touch $@

# Installs the wheel, not the tree, so that what is tested is what ships.
$(BARE)/ready: pyproject.toml $(shell find stapes -name '*.py' -o -name '*.onnx')
	$(PYTHON) -m venv $(BARE)
	$(BARE)/bin/$(PIP) --force-reinstall --no-deps .
	$(BARE)/bin/$(PIP) . pytest hypothesis
	touch $@

$(USER)/ready: pyproject.toml
	@echo "Installing into $(USER), the first time only: numpy, onnxruntime, matplotlib, ..."
	$(PYTHON) -m venv $(USER)
	$(USER)/bin/$(PIP) -e '.[mic,files,plot]'
	touch $@

clean:
	rm -rf $(DEV) $(BARE) $(USER) demo.png
