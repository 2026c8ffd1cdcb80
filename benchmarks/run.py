#!/usr/bin/env python3
"""Times every workload on `mps` and on a peer, in interleaved rounds.

    python benchmarks/run.py [--rounds 5] [--only NAME ...] [--growth] [--loops] [--out benchmarks/results]
                             [--peer cpu|cuda] [--update docs/performance.md:SECTION]

The peer is JAX's own backend: of the CPU, with the workloads of the CPU table, or for NVIDIA GPUs,
with those of the GPU table. --loops takes the programs of loops.py instead, whose table also has the times
of the first calls: tracing and compiling, and once per process the import of what compiles.

Each measurement is a fresh process that runs one workload on one platform: compile, half a second to warm up, then
executions for about half a second, ended by reading a value back; its figure is the median of three
such stretches. Rounds alternate between the platforms; the table shows the median over rounds with
the smallest and largest, and their ratio. Before a ratio is printed the values of both platforms are
compared. --update puts the table between the lines `<!-- SECTION -->` and `<!-- end -->` of a file.
Writes results.json, table.md and, where matplotlib is installed, ratios.png.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
STRETCH_SECONDS = 0.5
WARM_UP_SECONDS = 0.5  # in which what runs often becomes machine code, beside


def measure(name: str) -> dict:
    """Runs one workload in this process; what the parent reads as JSON."""
    sys.path.insert(0, str(HERE))
    import growth
    import loops
    import workloads

    if name in growth.GROWTH:
        return growth.GROWTH[name]()
    workload = (workloads.WORKLOADS | workloads.GPU_WORKLOADS | loops.LOOPS)[name]()
    start = time.perf_counter()
    value = workload.run(1)
    first = time.perf_counter() - start
    while time.perf_counter() - start < WARM_UP_SECONDS:
        workload.run(2)
    start = time.perf_counter()
    workload.run(2)
    estimate = (time.perf_counter() - start) / 2
    count = max(1, min(100_000, round(STRETCH_SECONDS / max(estimate, 1e-7))))
    times = []
    for _ in range(3):
        start = time.perf_counter()
        workload.run(count)
        times.append((time.perf_counter() - start) / count)
    return {
        "seconds": statistics.median(times) / workload.divide,
        "first_call_seconds": first,
        "rate": workload.amount / statistics.median(times) if workload.amount else None,
        "unit": workload.unit,
        "per": workload.per,
        "tolerance": workload.tolerance,
        "value": np.ravel(value)[:4096].tolist(),
    }


def spawn(name: str, target: str) -> dict:
    environment = dict(os.environ, JAX_PLATFORMS=target)
    done = subprocess.run(
        [sys.executable, __file__, "--worker", name],
        env=environment, capture_output=True, text=True, check=False,
    )
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["no output"])[-1]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def disagreement(a: dict, b: dict) -> float:
    """The largest difference relative to the largest magnitude."""
    x, y = np.array(a["value"]), np.array(b["value"])
    if x.shape != y.shape or not np.isfinite(y).all():
        return float("inf")
    return float(np.abs(x - y).max(initial=0) / max(np.abs(x).max(initial=0), 1e-30))


def show(result: dict, seconds: float) -> str:
    if result.get("rate"):
        return f"{result['rate'] * result['seconds'] / seconds:.4g} {result['unit']}"
    if result["per"] == "GB":  # memory, where others have seconds
        return f"{seconds:.3g} GB"
    scale, unit = next((s, u) for s, u in ((1, "s"), (1e3, "ms"), (1e6, "µs")) if seconds * s >= 1 or u == "µs")
    return f"{seconds * scale:.4g} {unit} / {result['per']}"


def summarize(name: str, peer: str, rounds: dict[str, list[dict]]) -> dict:
    row: dict = {"name": name}
    for target, results in rounds.items():
        errors = [r["error"] for r in results if "error" in r]
        if errors:
            return row | {"error": f"{target}: {errors[0]}"}
        seconds = [r["seconds"] for r in results]
        row[target] = {
            "median": statistics.median(seconds), "min": min(seconds), "max": max(seconds),
            "first_call": statistics.median(r["first_call_seconds"] for r in results),
            "shown": show(results[0], statistics.median(seconds)),
        }
    row["difference"] = disagreement(rounds[peer][0], rounds["mps"][0])
    if row["difference"] > rounds[peer][0]["tolerance"]:
        return row | {"error": f"values differ by {row['difference']:.2g}: no time is shown"}
    ratios = [m["seconds"] / c["seconds"] for c, m in zip(rounds[peer], rounds["mps"], strict=True)]
    row["ratio"] = statistics.median(ratios)
    row["spread"] = [min(ratios), max(ratios)]
    return row


def table(rows: list[dict], peer: str, compiling: bool = False) -> str:
    more = (" first call: JAX | mps |", "---:|---:|") if compiling else ("", "")
    lines = [
        f"| workload | JAX {peer.upper()} | mps | time ratio (min–max of rounds) |{more[0]}",
        f"|---|---:|---:|---:|{more[1]}",
    ]
    for row in rows:
        if "error" in row:
            lines.append(f"| {row['name']} | | | {row['error']} |{' | |' if compiling else ''}")
        else:
            low, high = row["spread"]
            first = "".join(f" {row[who]['first_call'] * 1e3:.0f} ms |" for who in (peer, "mps"))
            lines.append(
                f"| {row['name']} | {row[peer]['shown']} | {row['mps']['shown']} "
                f"| **{row['ratio']:.2f}** ({low:.2f}–{high:.2f}) |{first if compiling else ''}"
            )
    return "\n".join(lines) + "\n"


def update(target: str, text: str) -> None:
    path, _, section = target.rpartition(":")
    old = Path(path).read_text()
    start = old.index(f"<!-- {section} -->") + len(f"<!-- {section} -->")
    Path(path).write_text(old[:start] + "\n" + text + old[old.index("<!-- end -->", start):])


def plot(rows: list[dict], peer: str, path: Path) -> None:
    try:
        import matplotlib
    except ImportError:
        print("matplotlib is not installed: no plot", file=sys.stderr)
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    good = [row for row in rows if "ratio" in row]
    figure, axes = pyplot.subplots(figsize=(8, 0.4 * len(good) + 1.5))
    axes.barh([r["name"] for r in good], [r["ratio"] for r in good], color="#4477aa")
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlabel(f"time of mps / time of JAX {peer.upper()} (smaller is better)")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def run_rounds(rounds: int, peer: str, results: dict[str, dict[str, list[dict]]]) -> bool:
    """Whether all were run: an interruption leaves what was measured before it."""
    try:
        for index in range(rounds):
            for name, by_target in results.items():
                for target in (peer, "mps") if index % 2 == 0 else ("mps", peer):
                    by_target[target].append(spawn(name, target))
            print(f"round {index + 1} of {rounds} done", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--growth", action="store_true", help="also the growth rows")
    parser.add_argument("--loops", action="store_true", help="the programs of loops.py")
    parser.add_argument("--peer", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--update", help="FILE:SECTION to put the table into")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measure(options.worker)))
        return 0
    sys.path.insert(0, str(HERE))
    import growth
    import loops
    import workloads

    peer = options.peer
    known = workloads.WORKLOADS if peer == "cpu" else workloads.GPU_WORKLOADS
    if options.loops:
        known = loops.LOOPS
    names = options.only or list(known) + (list(growth.GROWTH) if options.growth else [])
    unknown = set(names) - set(workloads.WORKLOADS) - set(workloads.GPU_WORKLOADS) - set(growth.GROWTH) - set(loops.LOOPS)
    if unknown:
        parser.error(f"no such workload: {', '.join(sorted(unknown))}")
    results = {name: {target: [] for target in (peer, "mps")} for name in names}
    complete = run_rounds(options.rounds, peer, results)
    measured = {name: min(map(len, by_target.values())) for name, by_target in results.items()}
    rows = [
        summarize(name, peer, {target: all_[:n] for target, all_ in results[name].items()})
        for name, n in measured.items() if n
    ]  # fmt: skip
    options.out.mkdir(parents=True, exist_ok=True)
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "rounds": options.rounds}
    (options.out / "results.json").write_text(json.dumps({"setup": machine, "rows": rows}, indent=1))
    text = table(rows, peer, options.loops)
    (options.out / "table.md").write_text(text)
    plot(rows, peer, options.out / "ratios.png")
    print(text)
    if options.update and complete:
        update(options.update, text)
    return int(not complete or any("error" in row for row in rows))


if __name__ == "__main__":
    sys.exit(main())
