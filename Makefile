# mediakit: `make demo` shows it, `make test` checks it, `make bench` measures it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
.PHONY: demo test lint types unit docs bench bench-large lowest starter starter-captioner clean

$(BIN)/mediakit: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[dev]' --constraint constraints.txt
	touch $@

demo: $(BIN)/mediakit  ## Upscale a folder of real photos; look at demo/compare when it is done
	$(BIN)/python tools/demo_photos.py demo/photos
	$(BIN)/mediakit upscale demo/photos --out demo/upscaled --preset photo
	$(BIN)/python tools/compare.py demo/photos demo/upscaled demo/compare

test: lint types unit  ## All that continuous integration runs

lint: $(BIN)/mediakit
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(BIN)/mediakit
	$(BIN)/mypy

# where the tests keep models: fetched once a checkout; a file of tests a process, one a core
unit: $(BIN)/mediakit
	MEDIAKIT_CACHE="$${MEDIAKIT_CACHE:-$(CURDIR)/$(VENV)/models}" OMP_NUM_THREADS=1 \
		$(BIN)/pytest --numprocesses auto --dist loadfile

docs: $(BIN)/mediakit  ## Write docs/reference.md from the options' own declarations
	$(BIN)/python tools/reference.py docs/reference.md

bench: $(BIN)/mediakit  ## Ratios side by side with what one would use instead; prints and writes JSON
	$(BIN)/pip install --quiet --editable '.[dev,reference]' --constraint constraints.txt
	$(BIN)/python -m benchmarks

bench-large: $(BIN)/mediakit  ## Resident memory of a 24-megapixel photo at x4
	$(BIN)/python -m benchmarks.large

lowest:  ## Install the lowest versions that pyproject.toml allows, and test with them
	$(PYTHON) -m venv .venv-lowest
	$(PYTHON) tools/lowest.py > .venv-lowest/lowest.txt
	.venv-lowest/bin/pip install --quiet --upgrade pip
	.venv-lowest/bin/pip install --quiet --editable '.[dev]' --constraint .venv-lowest/lowest.txt
	.venv-lowest/bin/pytest

# at most 100 steps are lost where it is stopped: run it again and it goes on
STARTER ?= build/starter
SHIPPED := mediakit/models/shipped/starter-diffusion
starter: $(BIN)/mediakit  ## Train the text-to-image model that ships: hours on a CPU, goes on where stopped
	$(BIN)/python -m tools.starter.train_vae --work $(STARTER)
	$(BIN)/python -m tools.starter.train_unet --work $(STARTER)
	$(BIN)/python -m tools.starter.train_decoder --work $(STARTER)
	$(BIN)/python -m tools.starter.pack $(STARTER)/finished $(SHIPPED)
	$(BIN)/python -m tools.starter.measure $(SHIPPED) --out docs/starter
	$(BIN)/python tools/shipped_entry.py mediakit/models/catalog/diffusion_starter.yaml $(SHIPPED)

CAPTIONER := mediakit/models/shipped/starter-captioner
starter-captioner: $(BIN)/mediakit  ## Train the captioner that ships: half an hour on a CPU, goes on where stopped
	$(BIN)/python -m tools.starter_captioner.train --work $(STARTER) --vae $(SHIPPED)/vae
	$(BIN)/python -m tools.starter_captioner.pack $(STARTER)/captioner/trained $(CAPTIONER)
	$(BIN)/python -m tools.starter_captioner.measure $(CAPTIONER) $(SHIPPED) --out docs/starter/captioner.json
	$(BIN)/python tools/shipped_entry.py mediakit/models/catalog/caption_starter.yaml $(CAPTIONER)

clean:
	rm -rf $(VENV) .venv-lowest demo build dist .pytest_cache .mypy_cache .ruff_cache
