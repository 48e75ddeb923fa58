# make demo   set up, and show the main job        (ARGS="--for 20s" ends by itself, --json prints a summary)
# make test   set up, and pass all tests
# make sqlx   renew .sqlx after a change of SQL or migrations

.PHONY: demo test sqlx sqlx-check setup

CARGO := cargo
ARGS :=

demo: setup
	$(CARGO) build --locked
	target/debug/argos-sync demo $(ARGS)

test: setup
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --quiet
	$(MAKE) --no-print-directory sqlx-check
	$(CARGO) test --locked

setup:
	@CARGO="$(CARGO)" tests/setup $(if $(filter test,$(MAKECMDGOALS)),test)

# Both need a build whose .sqlx is good: the one that is being replaced serves to start PostgreSQL.
sqlx-check sqlx: target/debug/argos-sync
	$(if $(filter sqlx,$@),tests/sqlx renew,tests/sqlx check)

target/debug/argos-sync:
	$(CARGO) build --locked
