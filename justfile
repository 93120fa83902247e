# Everyday commands; `just --list` shows them. .ci/run is what a change must pass.
set positional-arguments

# Formats, then compiles and lints everything
check: fmt
    cargo clippy --release --locked --workspace --all-targets -- -D warnings
# Runs tests: `just test`, `just test --lib -- link::`, `just test --test loss`
test *args:
    cargo test --release --locked --workspace "$@"
# Runs the suites of a subject that start whole programs: `just e2e strangers`
e2e subject:
    cargo build --release --locked --workspace
    cargo test --release --locked --workspace --test it -- {{subject}}
# Starts a cloud and three virtual devices
demo *args:
    cargo run --release --locked -p iottly -- demo "$@"
# Writes fixtures and snapshots again; then read the difference
bless *filter:
    IOTTLY_BLESS=1 INSTA_UPDATE=always cargo test --release --locked --workspace -- "$@"
# Runs each fuzz target for some seconds
fuzz seconds="20":
    .ci/fuzz/run {{seconds}}
# Measures one benchmark: path, rollout, ingest, api, webhooks, queue, sandbox, verify
numbers bench *args:
    cargo bench --locked --workspace --bench "$@"
# Builds the crates' documentation
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --workspace --no-deps
# Formats the code
fmt:
    cargo fmt --all
