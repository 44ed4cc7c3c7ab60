# One way to run each thing; .ci/run uses these recipes too. `just` lists them.

[private]
default:
    @just --list --unsorted

# Serve on port 3000
run *arguments:
    cargo run --release -- {{ arguments }}

# Format the code
fmt:
    cargo fmt --all

# Whether the code is formatted
fmt-check:
    cargo fmt --all --check

# Every lint, as an error
lint:
    cargo clippy --all-targets --locked -- -D warnings

# All tests
test:
    cargo test

# The black-box tests with every server in its sandbox, which the kernel has to have
test-sandboxed:
    NESSEN_SERVER_SANDBOX=required cargo test --test it

# Every fuzz target, for so many seconds each; see fuzz/README.md
fuzz seconds="600" *targets:
    fuzz/run --seconds {{ seconds }} {{ targets }}

# Whether the fuzz targets build; what their corpora hold is run by the tests
fuzz-check:
    cd fuzz && cargo fmt --check && cargo clippy --locked -- -D warnings

# What a compressor holds in memory at most, and what the sandbox costs a call to the system
costs:
    cargo test --lib what_one_compressor_costs -- --ignored --nocapture
    cargo test --lib what_the_sandbox_costs -- --ignored --nocapture

# The library's documentation, every warning an error
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked

# Whether the generated pages are current, and the written ones name only what is there
check-docs:
    cargo test --locked --lib -- house_tests docs_tests golden the_documentation_is_current

# Write the generated pages anew
update-docs:
    NESSEN_UPDATE_GOLDEN=1 cargo test --lib -- golden the_documentation_is_current

# The binary, as it is shipped
build:
    cargo build --release --locked

# Licenses, bans and sources of all dependencies
deps:
    .ci/dependencies

# Size, start-up, and every endpoint of the built binary
smoke: build
    .ci/smoke

# The tools of the checks below, in a virtual environment
[private]
deploy-tools:
    test -x target/deploy-tools/bin/pytest || python3 -m venv target/deploy-tools
    target/deploy-tools/bin/pip install --quiet --disable-pip-version-check -r tests/deploy/requirements.txt
    test -x target/deploy-checkov/bin/pip || python3 -m venv target/deploy-checkov
    target/deploy-checkov/bin/pip install --quiet --disable-pip-version-check -r tests/deploy/requirements-checkov.txt
    -target/deploy-tools/bin/pip install --quiet --disable-pip-version-check --no-deps --ignore-requires-python -r tests/deploy/requirements-helm.txt

# Instructions that a request takes, held against loadtest/instructions.json
instructions *arguments: build
    loadtest/instructions {{ arguments }}

# Everything that deploys, checked with the real tools
deploy *arguments: build bare deploy-tools
    PATH="$PWD/target/deploy-tools/bin:$PATH:$PWD/target/deploy-checkov/bin" pytest tests/deploy -m "not docker" {{ arguments }}

# The image and compose, in containers
deploy-docker *arguments: build deploy-tools
    PATH="$PWD/target/deploy-tools/bin:$PATH" pytest tests/deploy -m docker {{ arguments }}

# Attacks on the built binary under memory limits, as root: about 12 minutes, into docs/hardening-report.md
hardening *arguments: build
    loadtest/hardening {{ arguments }}

# Nessen beside nginx, HAProxy, Node, hyper and axum: about 12 minutes, into docs/performance.md
bench *arguments: build
    loadtest/bench {{ arguments }}

# What a request costs as connections, fields, routes, clients and series grow, into docs/performance.md
growth *arguments: build
    loadtest/growth {{ arguments }}

# What each layer costs by itself, by criterion: about a minute, once it is built
layers *arguments:
    cd loadtest/layers && cargo bench --locked {{ arguments }}

# The same, as far as it compiles
layers-check:
    cd loadtest/layers && cargo fmt --check && cargo clippy --locked --all-targets -- -D warnings

# Replicas full of idle connections, and what a million would take: about two minutes, into docs/sizing.md
fleet *arguments: build
    loadtest/fleet {{ arguments }}

# The servers that Nessen is compared with, and the load at a fixed rate
bare:
    cd loadtest/bare && cargo fmt --check && cargo build --release --locked

# Half an hour of honest and hostile load, and what is left of it
soak *arguments: build
    loadtest/soak {{ arguments }}

# Everything that a change has to pass
ci:
    .ci/run
