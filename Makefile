# make demo   real mammograms, implanted calcifications, training, evaluation, export, prediction
# make test   the test suite
# make ablation   losses and networks compared on the demo's mammograms
# make weights   the weights that come with the project, trained further: hours
PYTHON_ENV := .venv/bin/python
RUNTIME := requirements.txt
TESTING := requirements.txt requirements-dev.txt requirements-beam.txt
DEMO := requirements.txt requirements-demo.txt

.PHONY: demo demo-small ablation ablation-small weights test test-slow lint format types clean

demo:
	@tools/make_env.sh $(DEMO)
	@$(PYTHON_ENV) -m tools.demo --output_dir=build/demo

demo-small:
	@tools/make_env.sh $(DEMO)
	@$(PYTHON_ENV) -m tools.demo --output_dir=build/demo-small --small

ablation:
	@tools/make_env.sh $(DEMO)
	@$(PYTHON_ENV) -m tools.ablation --output_dir=build/ablation

ablation-small:
	@tools/make_env.sh $(DEMO)
	@$(PYTHON_ENV) -m tools.ablation --output_dir=build/ablation-small --small

weights:
	@tools/make_env.sh $(DEMO)
	@$(PYTHON_ENV) -m tools.weights --output_dir=build/weights

test:
	@tools/make_env.sh $(TESTING)
	@$(PYTHON_ENV) -m pytest -q -n auto --dist loadfile --no-loadscope-reorder

test-slow:
	@tools/make_env.sh $(TESTING)
	@$(PYTHON_ENV) -m pytest -q -m slow -n auto --dist loadfile --no-loadscope-reorder

lint:
	@tools/make_env.sh $(TESTING)
	@$(PYTHON_ENV) -m ruff check .
	@$(PYTHON_ENV) -m ruff format --check .

format:
	@tools/make_env.sh $(TESTING)
	@$(PYTHON_ENV) -m ruff format .
	@$(PYTHON_ENV) -m ruff check --fix .

types:
	@tools/make_env.sh $(TESTING)
	@$(PYTHON_ENV) -m mypy

clean:
	rm -rf build .venv
