# The targets that KISim's users know (docs/simulator/load.md). Nothing here needs a cluster, a GPU or Python: baselines run in
# simulated time. `npm start` and `npm test` need none of this.
#   RESULTS_DIR   where results go (default: ./results)
#   GPU_ENABLED   false: `baseline` and `dynamic-load` take the scenario without a GPU
#   KUBECONFIG    passed on; only commands that talk to a cluster look at it
RESULTS_DIR ?= ./results
GPU_ENABLED ?= true
PATTERN ?= ramp
SEED ?= 42
DURATION ?= 300s
URL ?=
MODEL ?=
export RESULTS_DIR GPU_ENABLED KUBECONFIG

STOWAGE := node bin/stowage.mjs
EXPERIMENTS := configs/experiments

ifneq ($(filter $(GPU_ENABLED),true 1 yes),)
BASELINE := baseline
SCENARIO := kisim-gpu
BASELINE_DIR := $(RESULTS_DIR)/baseline
else ifneq ($(filter $(GPU_ENABLED),false 0 no),)
BASELINE := baseline-cpu
SCENARIO := kisim-cpu
BASELINE_DIR := $(RESULTS_DIR)/cpu_baseline
else
$(error GPU_ENABLED is "$(GPU_ENABLED)"; expected true or false)
endif

.PHONY: help baseline baseline-cpu dynamic-load install-rl-deps rl-test rl-train rl-evaluate rl-full-pipeline \
	analyze-scheduling rl-plots rl-individual test-integration benchmark
.DEFAULT_GOAL := help

help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

# $(call run-baseline,experiment,scenario,folder): every run of every pattern second by second, then the comparison over seeds
define run-baseline
$(STOWAGE) load --simulate $(EXPERIMENTS)/scenarios/$(2).yaml --pattern all --duration $(DURATION) --seed $(SEED) --out '$(3)'
$(STOWAGE) experiment $(EXPERIMENTS)/$(1).yaml --out '$(3)'
endef

baseline: ## all load patterns on the GPU scenario: RESULTS_DIR/baseline/{dynamic,metrics}
	$(call run-baseline,$(BASELINE),$(SCENARIO),$(BASELINE_DIR))

baseline-cpu: ## the same without a GPU: RESULTS_DIR/cpu_baseline/{dynamic,metrics}
	$(call run-baseline,baseline-cpu,kisim-cpu,$(RESULTS_DIR)/cpu_baseline)

dynamic-load: ## one load pattern: PATTERN=ramp|spike|periodic|random, SEED, DURATION; URL=... drives a real server
ifeq ($(URL),)
	$(STOWAGE) load --simulate $(EXPERIMENTS)/scenarios/$(SCENARIO).yaml --pattern '$(PATTERN)' --duration $(DURATION) --seed $(SEED) --out '$(BASELINE_DIR)'
else
	$(STOWAGE) load --url '$(URL)' --pattern '$(PATTERN)' --duration $(DURATION) --seed $(SEED) --out '$(RESULTS_DIR)/live'
endif

install-rl-deps: ## what is needed is in package-lock.json, and installed with it
	$(STOWAGE) --version

# Learning comes with its own room of the source. Until then nothing pretends to have trained.
define not-trained-here
@echo 'make $@: this version of Stowage cannot train or evaluate a policy yet (PPO is not part of it). The environment that it will learn in is there: docs/simulator/load.md.' >&2
@exit 1
endef

rl-test: ## a quick test of training
	$(not-trained-here)

rl-train: ## training over 100 episodes
	$(not-trained-here)

rl-evaluate: ## a trained policy against the baselines: MODEL=file
	@test -n '$(MODEL)' || { echo 'make rl-evaluate: MODEL is missing; expected MODEL=the file of a trained policy' >&2; exit 1; }
	$(not-trained-here)

rl-full-pipeline: ## baseline, training, evaluation
	$(not-trained-here)

analyze-scheduling: ## one page of all results, and their figures: RESULTS_DIR/comparison/report.html
	$(STOWAGE) report '$(RESULTS_DIR)' --out '$(RESULTS_DIR)/comparison/report.html'

# No figures of training without a training.
define training-report
@test -d '$(RESULTS_DIR)/rl' || { echo 'make $@: there is no $(RESULTS_DIR)/rl: nothing has been trained there' >&2; exit 1; }
$(STOWAGE) report '$(RESULTS_DIR)/rl' --out '$(RESULTS_DIR)/rl/analysis/report.html' $(1)
endef

rl-plots: ## one page and figures of training: needs results of rl-train
	$(call training-report)

rl-individual: ## the figures of training one by one, beside the results of rl-train
	$(call training-report,--json)

test-integration: ## the tests that start whole systems
	npm test -- test/e2e test/faults src/cli

benchmark: ## decisions, simulations and environments
	npm run bench:cycle
	npm run bench:simulation
