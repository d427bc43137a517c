# What must be installed, each target installs: Debian packages where something is missing, Python packages into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/pip --quiet --disable-pip-version-check
GRPC_TOOLS := github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4 github.com/grpc-ecosystem/grpc-health-probe@v0.4.61 \
	github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible

.PHONY: run test check format bench bench-auth bench-grpc bench-peers bench-reload bench-workers bench-streams chaos protos constraints clean

run: $(READY)  ## serve a demo and drive a canary through it
	$(BIN)/sluice demo

test: $(READY) .venv-kserve/.ready  ## every test, against real servers and clients
	tools/debian curl:curl cobc:gnucobol4
	tests/servers/install
	tools/go $(GRPC_TOOLS)
	$(BIN)/pytest --numprocesses logical --dist loadfile $(ARGS)

check: $(READY)  ## format, lint, types, import layers, generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python protos/generate.py --check

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY)  ## limits and Sluice, side by side; under three minutes
	tools/debian wrk:wrk
	$(BIN)/python -m loadtests.bench $(ARGS)

bench-auth: $(READY)  ## an API key with every request, and without; under two minutes
	tools/debian wrk:wrk
	$(BIN)/python -m loadtests.auth $(ARGS)

bench-grpc: $(READY)  ## gRPC and grpcio's own echo, side by side; under two minutes
	tools/debian h2load:nghttp2-client
	$(BIN)/python -m loadtests.grpc $(ARGS)

bench-workers: $(READY)  ## two workers against one, recycles and kills under load
	tools/debian wrk:wrk
	$(BIN)/python -m loadtests.workers $(ARGS)

bench-reload: $(READY)  ## 500 reloads of a 67 MB model under load
	$(BIN)/python -m loadtests.reload $(ARGS)

bench-streams: $(READY)  ## what a record of a stream costs, beside clients without a model; under eight minutes
	tools/debian wrk:wrk
	tests/servers/install
	$(BIN)/python -m loadtests.streams_bench $(ARGS)

chaos: $(READY)  ## kill everything that streams stand on, 200 times, and account for every record; under 15 minutes
	tests/servers/install
	PYTHONPATH=tests $(BIN)/python -m chaos $(ARGS)

bench-peers: $(READY)  ## FastAPI and MLServer, each in its own environment
	tools/debian wrk:wrk
	$(BIN)/python -m loadtests.peers $(ARGS)

protos: $(READY)  ## gateway/pb from protos/
	$(BIN)/python protos/generate.py

constraints: $(READY)  ## lock what is installed now
	$(BIN)/pip freeze --exclude-editable | grep -v '^sluice' > constraints.txt

$(READY): pyproject.toml constraints.txt
	tools/debian "python3 -c 'import ensurepip':python3-venv"
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --constraint constraints.txt --editable '.[dev]'
	touch $@

# KServe's client brings a hundred packages of its own and pins some of ours: it lives apart
.venv-kserve/.ready: tests/clients/kserve.txt
	$(PYTHON) -m venv .venv-kserve
	.venv-kserve/bin/pip --quiet --disable-pip-version-check install --no-deps --no-compile --requirement tests/clients/kserve.txt
	touch $@

clean:
	rm -rf $(VENV) .venv-kserve build *.egg-info
