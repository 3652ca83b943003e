# make book    the environment, one live run, the book           -> _build/html/index.html
# make pdf     the chapters as a PDF, with pictures in place of what is live; needs xelatex, latexmk, xindy and chromium
# make test    the environment, every test
# make env     the environment alone (.venv, pinned by requirements.txt)
# make notebooks   execute every chapter and notebook in place (after a change in src/ or results/)
# make wheel   a wheel in dist/;  make clean  removes what can be made again, but not .venv

PYTHON ?= python3
BOOK_FLAGS ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# a figure in a notebook's output is one JSON object; sums are the same on every machine with one thread
export PLOTLY_RENDERER := plotly_mimetype
export OMP_NUM_THREADS := 1

.PHONY: book pdf test test-notebooks env notebooks live wheel clean
.DELETE_ON_ERROR:

book: live
	$(BIN)/jupyter-book build $(BOOK_FLAGS) book/

pdf: live
	@for tool in xelatex latexmk xindy; do command -v $$tool > /dev/null || \
		{ echo "expected $$tool to be installed: apt-get install texlive-xetex texlive-latex-extra latexmk xindy fonts-freefont-otf chromium"; exit 1; }; done
	$(BIN)/jupyter-book build --builder pdflatex book/
	cp _build/latex/cffbook.pdf _build/cffbook.pdf
	@echo "the book is in _build/cffbook.pdf"

live: $(READY)
	mkdir -p runs
	$(BIN)/papermill notebooks/lra.ipynb runs/live.ipynb -p task listops -p mixer memory -p tier smoke

test: test-notebooks
	$(BIN)/python -m pytest

# every committed output of every chapter and notebook, compared with what the cells give now
test-notebooks: $(READY)
	$(BIN)/python -m pytest --nbval --nbval-current-env -p no:cacheprovider book notebooks

notebooks: $(READY)
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace --ExecutePreprocessor.timeout=300 \
		--ExecutePreprocessor.record_timing=False --ExecutePreprocessor.store_widget_state=False book/*.ipynb notebooks/*.ipynb
	$(BIN)/jupyter nbconvert --coalesce-streams --inplace book/*.ipynb notebooks/*.ipynb  # what a cell prints is one output, however fast it came

env: $(READY)

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "expected Python 3.11 to 3.13, got $$($(PYTHON) -V): make PYTHON=/path/to/python3.12 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

wheel: $(READY)
	rm -rf build
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .

clean:
	rm -rf _build build dist book/notebooks .pytest_cache .hypothesis src/*.egg-info
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
