# `make help` lists the targets. Everything that a person or a build machine does with qcc starts here.

SWIFT ?= swift
QCC := .build/release/qcc

.DEFAULT_GOAL := build
.PHONY: help build test demo format lint bless fuzz bench bench-peers eqnet clean dependencies test-dependencies

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: dependencies ## build qcc (release): .build/release/qcc
	$(SWIFT) build --configuration release --product qcc

test: test-dependencies ## install what is missing, build, run the checks and all tests
	SWIFT='$(SWIFT)' scripts/test

demo: build ## compile the sample network to integers, compare it with float, show sizes and speed
	@scripts/demo $(QCC)

format: ## rewrite all Swift files in the project's format
	git ls-files -z '*.swift' | xargs -0 $(SWIFT) format --in-place --parallel

lint: ## formatting and file lengths, strictly
	SWIFT='$(SWIFT)' scripts/lint

bless: test-dependencies ## accept the present output of the passes as their goldens; review with git diff
	QCC_BLESS=1 $(SWIFT) test --filter Golden
	git diff --stat

fuzz: test-dependencies ## fuzz every reader of untrusted files for a short while each
	SWIFT='$(SWIFT)' scripts/fuzz

bench: build ## time the kernels against the peak of this processor
	$(SWIFT) run --configuration release qcc-kernel-bench

bench-peers: build ## time qcc and other runtimes side by side: Benchmarks/Peers/README.md (PEERS='--models resnet20')
	python3 Benchmarks/Peers/bench_peers.py $(PEERS)

eqnet: build ## train a supernet for every width and search through it: hours, goes on where it stopped (EQNET='--epochs 10')
	$(MAKE) -C Benchmarks/EQNet run

clean: ## remove everything that was built
	rm -rf .build

dependencies:
	@scripts/install-dependencies

test-dependencies:
	@scripts/install-dependencies --for-tests
