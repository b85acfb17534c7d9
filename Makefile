# HALCYON Datasource Studio. `make run` and `make test` are all that is needed on a fresh Debian machine.

.DEFAULT_GOAL := help
.PHONY: help run build test lint check-deploy reference fuzz-api bench load scale chaos chaos-long stack stack-down

help: ## Say what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

run: build ## Install what is missing, build, start the system; ARGS="--listen 127.0.0.1:9000" are its flags
	exec target/release/halcyon up $(ARGS)

build: ## Install what is missing and build the executable
	scripts/setup
	cargo build --release --locked -p halcyon --bin halcyon

test: ## Install what the tests need and run them all
	scripts/setup test
	cargo nextest run --workspace --locked $(NEXTEST_ARGS)

lint: ## Check format, lints, the AsyncAPI document and what deploy/ holds
	scripts/setup deploy
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	scripts/check-asyncapi
	scripts/check-deploy

check-deploy: ## Check the Compose file, the images, the chart and Prometheus' rules
	scripts/setup deploy
	scripts/check-deploy

reference: ## Write docs/reference/ anew
	scripts/setup test
	UPDATE_REFERENCE=1 cargo nextest run --workspace --locked -E 'test(reference_is_up_to_date)'

fuzz-api: ## Send generated requests to every operation for two minutes; SECONDS=600 for longer
	scripts/setup fuzz
	scripts/fuzz-api $(SECONDS)

bench: ## Measure the mapping beside hand-written code
	cargo bench --locked -p halcyon-mapping

load: build ## Measure ingest beside a bare server, and the time from 202 to the alert
	scripts/setup test
	cargo build --release --locked -p halcyon-load
	target/release/halcyon-load ingest --sync always
	target/release/halcyon-load ingest --sync default
	target/release/halcyon-load latency

stack: build ## Bring the stack of deploy/ up with Docker Compose, and do the main job through it
	deploy/stack image
	deploy/stack up
	deploy/stack prove

stack-down: ## Stop it; ARGS=-v deletes its data and keys
	deploy/stack down $(ARGS)

scale: build ## Measure what thousands of datasources and several partitions cost (half an hour)
	scripts/setup test
	cargo build --release --locked -p halcyon-load
	target/release/halcyon-load partitions
	target/release/halcyon-load scale --datasources 1000 --workers 1
	target/release/halcyon-load scale --datasources 10000 --workers 4

chaos: build ## Break everything that is promised to survive, the short forms (needs root); SCENARIO=p1-kills for one
	scripts/setup chaos
	cargo build --release --locked -p halcyon-load
	target/release/halcyon-load chaos $(or $(SCENARIO),all) --jobs 2

chaos-long: build ## The same for hours: more rounds, and the promised times as they are
	scripts/setup chaos
	cargo build --release --locked -p halcyon-load
	target/release/halcyon-load chaos $(or $(SCENARIO),all) --long --rate 2000
