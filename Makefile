# Two commands set everything up on a machine that has Python >= 3.11 and PyPI.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
RUN    ?= runs/demo

LOWEST ?= .venv-lowest

.PHONY: demo test env lowest clean

demo: $(VENV)/runtime.done
	$(BIN)/python train.py configs/demo.py --workdir $(RUN)
	$(BIN)/python scripts/evaluate.py captions $(RUN)

test: $(VENV)/test.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -n 2 --dist worksteal

env: $(VENV)/test.done

# The fast part of the tests with the lowest versions that requirements.txt declares.
lowest: $(LOWEST)/test.done
	$(LOWEST)/bin/python -m pytest -n 2 --dist worksteal tests/data tests/checkpoint tests/diffusion \
		tests/weights

$(VENV)/runtime.done: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: $(PYTHON) is older than 3.11: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/test.done: $(VENV)/runtime.done
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

$(LOWEST)/test.done: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(LOWEST)
	sed -e 's/>=/==/' -e 's/,.*//' requirements.txt > $(LOWEST)/lowest.txt
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint $(LOWEST)/lowest.txt --editable '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) $(LOWEST) runs .pytest_cache
