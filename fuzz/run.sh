#!/bin/sh
# Fuzzes every target (or those named) for some seconds each, with the stable toolchain and without a sanitizer: the
# code has no `unsafe` of its own, so panics, hangs and memory use are what there is to find. Needs a C++ compiler.
#   fuzz/run.sh SECONDS [TARGET...]
# Finds are written to fuzz/artifacts/; run one again with: fuzz/target/<triple>/release/<target> FILE
set -eu
seconds=${1:?usage: fuzz/run.sh SECONDS [TARGET...]}
shift
cd "$(dirname "$0")"
[ $# -gt 0 ] || set -- wire datauri challenge notification query
triple=$(rustc -vV | sed -n 's/^host: //p')
# With an explicit --target the flags do not reach build scripts and procedural macros, which could not link them.
RUSTFLAGS="--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares" \
    cargo build --release --locked --target "$triple"
for target in "$@"; do
    case $target in
    wire) seeds=../tests/fixtures/ucwa ;;
    notification) seeds=../tests/fixtures/graph ;;
    *) seeds=seeds/$target ;;
    esac
    mkdir -p "corpus/$target" "artifacts/$target"
    echo "== $target, $seconds s"
    "target/$triple/release/$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=1024 -max_len=16384 \
        -verbosity=0 -print_final_stats=1 -artifact_prefix="artifacts/$target/" "corpus/$target" "$seeds"
done
