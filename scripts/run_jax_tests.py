#!/usr/bin/env python3
"""Runs JAX's own tests on this platform and on JAX's backend, and says how many pass.

  scripts/run_jax_tests.py --checkout ../jax                    all files, the CPU device
  scripts/run_jax_tests.py --checkout ../jax --files lax_test linalg_test --cases 2
  scripts/run_jax_tests.py --checkout ../jax --device gpu --update docs/jax-tests.md

The checkout is a working tree of jax-ml/jax at the tag of the installed JAX. The score: of the
tests that JAX's own backend passes with the same settings, how many pass here. Tests are presented
the device as what it is, `cpu` or `gpu` (JAX_MPS_PLATFORM_NAME), because they skip and choose
tolerances by the platform's name. On the CPU nothing else is there: what asks for `cpu` gets ours.
The simulated Metal (--device simulated) is presented as `gpu` and compared with JAX's CPU backend; with
`--called cpu` tests run on it, too, that skip whatever is a GPU by its name.

Every test's outcome is kept as it comes in --results (a folder); run again, the script goes on
where it was stopped. A test that ends its process, or takes longer than --timeout, is counted as
`crashed` and the others go on. tests/jax/known_failures/<file>.txt lists the failures that are
known, by reason; the exit code is 1 for a failure that is not listed.
"""

import argparse
import collections
import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
KNOWN = ROOT / "tests" / "jax" / "known_failures"

# Files that are not about running programs on a device, each with its reason.
LEFT_OUT = {
    "inspects XLA itself: its HLO text, flags or passes": (
        "xla_interpreter_test", "xla_metadata_test", "hlo_test", "compiler_options_test",
        "xla_transform_test"),
    "Pallas and Mosaic kernels": ("mosaic", "pallas", "tpu_custom_call_test"),
    "needs a second backend": ("multibackend_test", "heterogeneous_device_test", "layout_test"),
    "several processes or hosts": (
        "multiprocess", "multi_device_test", "distributed_test", "distributed_initialize_test",
        "transfer_guard_test"),
    "documentation and packaging": (
        "documentation_coverage_test", "package_structure_test", "version_test", "deprecation_test",
        "python_version_test", "jax_jit_lint_test"),
    "another platform's kernels": ("cudnn_fusion_test", "fused_attention_stablehlo_test", "gpu_", "rocm"),
    "needs TensorFlow": ("jax2tf_test", "roofline_test"),
}

# Tests of other files that are about what only XLA has. A name ends with * for all that begin so.
LEFT_OUT_TESTS = {
    "inspects XLA itself: its HLO text, flags or passes": {
        "api_test": ("APITest::test_inline_optimized_hlo",),
        "compilation_cache_test": ("CompilationCacheTest::test_dump_on_cache_hit",),
        "async_collectives_test": ("AsyncCollectivesTest::test_async_*",),
        "ffi_test": ("FfiTest::test_effects_hlo",),
    },
}

# What a test says that is skipped because there is one device.
SEVERAL_DEVICES = re.compile(r"(requires|needs|need|with|only|than|few|enough|expected).*\bdevice(s|_count)?\b|multi-device", re.I)


@dataclasses.dataclass(frozen=True)
class Side:
    """One of the two backends that are compared."""

    name: str
    platforms: str  # JAX_PLATFORMS


def left_out(name: str) -> str | None:
    for reason, names in LEFT_OUT.items():
        if any(name == n or (n.endswith("_") and name.startswith(n)) for n in names):
            return reason
    return None


def is_named(test: str, names) -> bool:
    """Whether a name, or the beginning of one that ends with *, is the test's."""
    return any(test == n or (n.endswith("*") and test.startswith(n[:-1])) for n in names)


def test_left_out(file: str, test: str) -> str | None:
    for reason, files in LEFT_OUT_TESTS.items():
        if is_named(test, files.get(file, ())):
            return reason
    return None


def test_files(checkout: pathlib.Path, wanted) -> list[str]:
    found = sorted(p.stem for p in (checkout / "tests").glob("*_test.py"))
    if not found:
        sys.exit(f"no tests in {checkout}/tests: --checkout must name a working tree of jax-ml/jax")
    if wanted:
        if unknown := set(wanted) - set(found):
            sys.exit(f"no such files in {checkout}/tests: {' '.join(sorted(unknown))}")
        return [name for name in found if name in wanted]
    return [name for name in found if not left_out(name)]


def check_version(checkout: pathlib.Path, other: bool) -> str:
    import jax

    text = (checkout / "jax" / "version.py").read_text()
    match = re.search(r'^_version = "([^"]+)"', text, re.M)
    if match and match.group(1) != jax.__version__.split(".dev")[0]:
        if other:
            return f"{jax.__version__} (tests of {match.group(1)})"
        sys.exit(f"the checkout is of JAX {match.group(1)}, installed is {jax.__version__}: check out "
                 f"the tag jax-v{jax.__version__}, or say --other-version")
    return jax.__version__


class Results:
    """Outcomes of one file on one side, kept in a file of JSON lines."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        self.outcomes: dict[str, dict] = {}
        self.open: dict[str, str] = {}  # worker -> the test that it has begun and not ended
        self.collected: int | None = None
        self.offset = 0
        self.read()

    def read(self) -> None:
        """What has come in since the last time."""
        if not self.path.exists():
            return
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            lines = file.read()
        lines = lines[: lines.rfind(b"\n") + 1]
        self.offset += len(lines)
        for line in lines.splitlines():
            record = json.loads(line)
            if "collected" in record:
                self.collected = record["collected"]
            elif "start" in record:
                self.open[record["worker"]] = record["start"]
            else:
                self.outcomes[record["id"]] = record
                self.open.pop(record.get("worker"), None)

    def add(self, record: dict) -> None:
        with open(self.path, "a") as file:
            file.write(json.dumps(record) + "\n")
        self.outcomes[record["id"]] = record

    def forget(self, tests: set[str]) -> None:
        """As if they had not been run."""
        kept = [record for test, record in self.outcomes.items() if test not in tests]
        lines = [{"collected": self.collected}] * (self.collected is not None) + kept
        self.path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        self.outcomes = {record["id"]: record for record in kept}
        self.open, self.offset = {}, self.path.stat().st_size

    def is_complete(self) -> bool:
        return self.collected is not None and len(self.outcomes) >= self.collected


@dataclasses.dataclass
class Job:
    """A file on one side. Any number of workers share its tests out among themselves."""

    name: str
    side: Side
    results: Results
    cost: tuple  # orders files: the largest is begun first
    workers: int = 0
    started: int = 0
    progress: int = 0  # outcomes when the last round began

    @property
    def claims(self) -> pathlib.Path:
        return self.results.path.with_suffix(".claims")

    def left(self) -> int:
        return 0 if self.results.collected is None else self.results.collected - len(self.results.outcomes)


def gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES may name; each worker is shown one."""
    if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
        return visible.split(",")
    if not shutil.which("nvidia-smi"):
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout
    return list(map(str, range(sum(line.startswith("GPU ") for line in listed.splitlines()))))


class Runner:
    """Hands files to workers, those named by --first and then long ones first; workers without a
    file help with the longest."""

    FEWEST = 24  # tests left for each worker, for which another one is worth its start

    def __init__(self, options, folder: pathlib.Path, names: list[str], sides: list[Side]):
        self.options = options
        self.lock = threading.Lock()
        self.jobs = []
        self.deadline = time.monotonic() + options.budget if options.budget else None
        self.running: dict[str, subprocess.Popen] = {}
        self.count = 0
        self.gpus = gpus() if options.device == "gpu" else []
        first = {name: len(options.first) - i for i, name in enumerate(options.first)}
        for name in names:
            cost = first.get(name, 0), (options.checkout / self.path(name)).stat().st_size
            for side in sides:
                results = Results(folder / f"{name.replace('/', '.')}.{side.name}.jsonl")
                self.jobs.append(Job(name, side, results, cost))
            if options.again:
                self.forget_failures(*(job.results for job in self.jobs[-2:]))
        wanted = [j for j in self.jobs if options.side in ("both", j.side.name)]
        self.waiting = sorted((j for j in wanted if not j.results.is_complete()), key=lambda job: job.cost, reverse=True)
        for job in self.waiting:
            self.begin_round(job)

    @staticmethod
    def forget_failures(reference: Results, ours: Results) -> None:
        passed = {test for test, record in reference.outcomes.items() if record["outcome"] == "passed"}
        ours.forget({t for t, record in ours.outcomes.items()
                     if record["outcome"] != "passed" and not is_for_several(record)} & passed)

    @staticmethod
    def path(name: str) -> str:
        """Of the file, below the checkout."""
        return f"tests/{name}.py"

    @staticmethod
    def begin_round(job: Job) -> None:
        job.progress = len(job.results.outcomes)
        shutil.rmtree(job.claims, ignore_errors=True)
        job.claims.mkdir(parents=True)

    def command(self, name: str) -> list[str]:
        # The checkout's own `jax` must not hide the installed one, nor its settings count.
        return [sys.executable, "-P", "-m", "pytest", "-q", "--no-header", "--tb=short", "--noconftest",
                "-c", os.devnull, "--rootdir=.", "--import-mode=importlib", "-p", "recorder",
                "-p", "no:cacheprovider", f"--timeout={self.options.timeout}",
                "--timeout-method=thread", self.path(name)]

    def environment(self, job: Job, worker: str, slot: int) -> dict[str, str]:
        ours = job.side.name == "mps"
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        own = {cores[slot % len(cores)], cores[(slot + 1) % len(cores)]} if cores else {}
        gpu = {"CUDA_VISIBLE_DEVICES": self.gpus[slot % len(self.gpus)]} if self.gpus else {}
        return {**os.environ, **gpu, "JAX_PLATFORMS": job.side.platforms,
                "RECORD_FILE": str(job.results.path), "RECORD_CLAIMS": str(job.claims),
                "RECORD_WORKER": worker, "RECORD_CORES": ",".join(map(str, own)),
                "JAX_NUM_GENERATED_CASES": str(self.options.cases), "JAX_SKIP_SLOW_TESTS": "1",
                "JAX_ENABLE_X64": "1" if self.options.x64 else "0",
                "JAX_ENABLE_CHECKS": "1", "PYTHONDONTWRITEBYTECODE": "1",
                "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # several workers share a GPU
                "JAX_MPS_DEVICE": self.options.device if ours else "",
                "JAX_MPS_PLATFORM_NAME": self.options.called if ours else "",
                # On the simulated GPU it is the kernels that are tried.
                "JAX_MPS_SMALL_ON_CPU": "0" if self.options.device == "simulated" else "1",
                "PYTHONPATH": os.pathsep.join(
                    filter(None, [str(ROOT / "tests" / "jax"), os.environ.get("PYTHONPATH")]))}

    def run(self) -> None:
        slots = [threading.Thread(target=self.serve, args=(slot,)) for slot in range(self.options.jobs)]
        for thread in slots:
            thread.start()
        try:
            for thread in slots:
                while thread.is_alive():
                    thread.join(1)
                    self.stop_if_over()
        except KeyboardInterrupt:
            self.deadline = 0
            self.stop_if_over()
            raise
        for job in self.jobs:
            shutil.rmtree(job.claims, ignore_errors=True)

    def serve(self, slot: int) -> None:
        while not self.is_over():
            with self.lock:
                job = self.next_job()
                if job:
                    job.workers += 1
                    job.started += 1
                    self.count += 1
                    worker = f"{os.getpid()}.{self.count}"
                elif not any(j.workers for j in self.jobs):
                    return
            if job:
                self.work(job, worker, slot)
            else:
                time.sleep(0.5)  # a file may yet need another worker

    def stop_if_over(self) -> None:
        if self.is_over():
            with self.lock:
                for process in self.running.values():
                    process.kill()

    def is_over(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline

    def next_job(self) -> Job | None:
        if self.waiting:
            return self.waiting.pop(0)
        running = [job for job in self.jobs if job.workers]
        for job in running:
            job.results.read()
        best = max(running, key=lambda job: job.left() / (job.workers + 1), default=None)
        return best if best and best.left() / (best.workers + 1) >= self.FEWEST else None

    def work(self, job: Job, worker: str, slot: int) -> None:
        """One process: takes tests of the file until none is left that nobody has taken."""
        process = subprocess.Popen(
            self.command(job.name), cwd=self.options.checkout, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", env=self.environment(job, worker, slot))
        with self.lock:
            self.running[worker] = process
        output = process.communicate()[0]
        with self.lock:
            del self.running[worker]
            job.workers -= 1
            if not self.is_over():
                self.conclude(job, worker, process.returncode, output)

    def conclude(self, job: Job, worker: str, returncode: int, output: str) -> None:
        results = job.results
        results.read()
        if worker in results.open:
            results.add({"id": results.open.pop(worker), "worker": worker, "outcome": "crashed",
                         "seconds": 0, "why": cause_of_death(returncode, output)})
        if results.collected is None or (returncode == 2 and not results.outcomes):
            # Nothing collected: the file is skipped as a whole, or said once to have failed.
            outcome = "skipped" if returncode == 5 else "failed"
            results.add({"id": self.path(job.name), "outcome": outcome, "seconds": 0,
                         "why": output[-2000:]})
            with open(results.path, "a") as file:
                file.write('{"collected": 1}\n')
            results.collected = 1
        if job.workers or results.is_complete():
            return
        # Tests that a worker took with it when it ended.
        if len(results.outcomes) > job.progress:
            self.begin_round(job)
            self.waiting.append(job)
        else:
            results.collected = len(results.outcomes)


def cause_of_death(returncode: int, output: str) -> str:
    text = output[-4000:]
    if "Timeout" in text:
        return "took longer than the limit"
    last = [line for line in text.splitlines() if line.strip()][-3:]
    return f"the process ended with {returncode}: " + " | ".join(last)[:500]


def known_failures(name: str, device: str | None = None) -> dict[str, str]:
    """Test -> reason, from the file's groups: `# reason` in one or more lines, then a test (or
    `prefix*`) a line. What fails on one device alone stands in <file>.<device>.txt."""
    known, reason, in_reason = {}, "", False
    # Tests are presented the simulated Metal as `gpu`, too.
    devices = [f".{device}", ".gpu"] if device == "simulated" else [f".{device}"]
    for path in (KNOWN / f"{name}{suffix}.txt" for suffix in ("", *devices)):
        for line in path.read_text().splitlines() if path.exists() else ():
            if line.startswith("#"):
                reason = f"{reason} {line[1:].strip()}" if in_reason else line[1:].strip()
            elif line.strip():
                known[line.strip()] = reason
            in_reason = line.startswith("#")
    return known


def reason_of(test: str, known: dict[str, str]) -> str | None:
    return next((reason for name, reason in known.items() if is_named(test, (name,))), None)


@dataclasses.dataclass
class Row:
    file: str
    reference: int = 0  # tests that JAX's backend passes
    left_out: int = 0  # of these
    several: int = 0  # of these: skipped here because they need several devices
    passed: int = 0  # of these
    failures: dict = dataclasses.field(default_factory=dict)  # the others of these: (outcome, why)
    seconds: float = 0
    unreached: int = 0  # passed by JAX's backend, but the run was stopped before it came to them here

    def counted(self) -> int:
        return self.reference - self.left_out - self.several

    def add(self, other) -> None:
        for field in ("reference", "left_out", "several", "passed"):
            setattr(self, field, getattr(self, field) + getattr(other, field))


def short(test: str) -> str:
    return test.split("::", 1)[1] if "::" in test else test


def is_for_several(record: dict) -> bool:
    """Whether a test was skipped because it is for several devices."""
    return record["outcome"] == "skipped" and SEVERAL_DEVICES.search(record["why"]) is not None


def compare(name: str, ours: Results, reference: Results) -> Row:
    """Without outcomes of JAX's backend it is taken to pass everything."""
    row = Row(name)
    wanted = [t for t, o in reference.outcomes.items() if o["outcome"] == "passed"]
    for test in wanted if reference.outcomes else ours.outcomes:
        have = ours.outcomes.get(test)
        if have is None and not ours.is_complete():
            row.unreached += 1
            continue
        have = have or {"outcome": "missing", "why": "not collected", "seconds": 0}
        outcome, why = have["outcome"], have["why"]
        if outcome == "skipped" and not reference.outcomes:
            continue
        row.reference += 1
        row.seconds += have.get("seconds", 0)
        if test_left_out(name, short(test)):
            row.left_out += 1
        elif outcome == "passed":
            row.passed += 1
        elif is_for_several(have):
            row.several += 1
        else:
            row.failures[short(test)] = (outcome, why)
    return row


def table(rows: list[Row]) -> str:
    lines = ["| file | JAX's backend passes | left out | several devices | run here | pass here | |",
             "|---|---:|---:|---:|---:|---:|---:|"]
    total = Row("**all**")
    for row in rows:
        total.add(row)
        if row.reference:
            lines.append(table_line(row))
    return "\n".join([*lines, table_line(total)])


def table_line(row: Row) -> str:
    share = f"{100 * row.passed / row.counted():.2f} %" if row.counted() else "–"
    return (f"| {row.file} | {row.reference} | {row.left_out or ''} | {row.several or ''} | {row.counted()} | "
            f"{row.passed} | {share} |")


def first_line(why: str) -> str:
    return next((line.strip() for line in why.splitlines() if line.strip()), "")


def causes(rows: list[Row]) -> str:
    counts = collections.Counter()
    for row in rows:
        for outcome, why in row.failures.values():
            counts[f"{outcome}: {re.sub(r'[0-9]+', 'N', first_line(why))[:110]}"] += 1
    return "\n".join(f"{count:5}  {cause}" for cause, count in counts.most_common(30))


INTRODUCTION = """# JAX's own tests

Written by `scripts/run_jax_tests.py --update`, which runs JAX's test suite from a checkout given by path, here and on
JAX's own backend, with the same settings. The device is presented to the tests as what it is (`JAX_MPS_PLATFORM_NAME`),
so nothing is skipped by the platform's name. The score: of the tests that JAX's backend passes, how many pass here. What
is left out is counted, and so are tests for several devices, which JAX's CPU backend makes of one. Whatever else is
skipped here but not there counts as not passed.
"""


def title(options, version: str) -> str:
    bits = "on" if options.x64 else "off"
    return f"## JAX {version}, device `{options.device}`, float64 {bits}"


def section(options, version: str, rows: list[Row]) -> str:
    total = Row("all")
    for row in rows:
        total.add(row)
    out = [title(options, version), "",
           f"Of {total.reference:,} tests that JAX's backend passes {total.counted():,} are run here and "
           f"{total.passed:,} pass: {100 * total.passed / max(total.counted(), 1):.2f} %. Left out: {total.left_out}, "
           f"for several devices: {total.several:,}. {options.cases} generated cases a test. {options.note}".rstrip(), ""]
    reasons = collections.defaultdict(list)
    for row in rows:
        known = known_failures(row.file, options.device)
        for test, (outcome, why) in row.failures.items():
            reason = reason_of(test, known) or f"not known: {outcome}, {first_line(why)[:160]}"
            reasons[reason].append(f"`{row.file}` `{test}`")
    if reasons:
        out += ["| failing | why | tests |", "|---:|---|---|"]
        for reason, tests in sorted(reasons.items(), key=lambda item: -len(item[1])):
            out.append(f"| {len(tests)} | {reason.replace('|', '/')} | {', '.join(tests)} |")
        out.append("")
    slowest = sorted(rows, key=lambda row: -row.seconds)[:5]
    out.append("Slowest files, in seconds here: " + ", ".join(f"{r.file} {r.seconds:.0f}" for r in slowest) + ".\n")
    return "\n".join([*out, table(rows), ""])


def update(page: pathlib.Path, options, version: str, rows: list[Row]) -> None:
    """Puts the run's section into the page, in the place of an earlier one of the same settings."""
    old = page.read_text() if page.exists() else ""
    sections = {part.splitlines()[0]: "## " + part for part in re.split(r"^## ", old, flags=re.M)[1:]}
    sections.pop("Left out", None)
    mine = section(options, version, rows)
    sections[mine.splitlines()[0][3:]] = mine
    out = ["## Left out", ""]
    out += [f"- {reason}: {', '.join(names)}" for reason, names in LEFT_OUT.items()]
    for reason, files in LEFT_OUT_TESTS.items():
        out += [f"- {reason}: `{file}` {', '.join(f'`{t}`' for t in tests)}" for file, tests in files.items()]
    page.write_text("\n".join([INTRODUCTION, *(part.rstrip() + "\n" for part in sections.values()), *out]) + "\n")


def progress(runner: Runner, stop: threading.Event) -> None:
    start, total = time.monotonic(), max(len(runner.jobs), 1)
    while not stop.wait(2):
        if sys.stderr.isatty():
            done = sum(not job.workers and job not in runner.waiting for job in runner.jobs)
            minutes = (time.monotonic() - start) / 60
            sys.stderr.write(f"\r[{'#' * (30 * done // total):30}] {done}/{total} files, {minutes:.0f} min ")
            sys.stderr.flush()


def parse(arguments) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkout", type=pathlib.Path, required=True, help="working tree of jax-ml/jax")
    parser.add_argument("--files", nargs="*", help="names without .py; default: all")
    parser.add_argument("--first", nargs="*", default=[], help="names of the files to begin with, in this order")
    parser.add_argument("--device", choices=("cpu", "gpu", "simulated"), default="cpu",
                        help="simulated: a GPU in a build for tests, which PYTHONPATH must name")
    parser.add_argument("--called", choices=("cpu", "gpu"),
                        help="what tests are presented the device as; default: the one for the CPU, the other for others")
    parser.add_argument("--side", choices=("both", "mps", "reference"), default="both",
                        help="run only this backend's tests; the outcomes of the other one count if they are there")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--cases", type=int, default=2, help="generated cases of a test")
    parser.add_argument("--timeout", type=int, default=300, help="seconds a test may take")
    parser.add_argument("--again", action="store_true",
                        help="run once more what has not passed here, but on JAX's backend")
    parser.add_argument("--budget", type=int, help="seconds after which the run is stopped")
    parser.add_argument("--other-version", action="store_true",
                        help="accept a checkout that is not of the installed JAX")
    parser.add_argument("--x64", action="store_true", help="with JAX_ENABLE_X64=1")
    parser.add_argument("--results", type=pathlib.Path, help="folder of the outcomes")
    parser.add_argument("--compare", type=pathlib.Path, help="an earlier folder of outcomes")
    parser.add_argument("--note", default="", help="what the page shall say beside the figures")
    parser.add_argument("--update", type=pathlib.Path, help="the page to write, docs/jax-tests.md")
    return parser.parse_args(arguments)


def report_changes(earlier: pathlib.Path, name: str, ours: Results) -> None:
    before = Results(earlier / f"{name}.mps.jsonl")
    for test, now in ours.outcomes.items():
        old = before.outcomes.get(test)
        if old and old["outcome"] != now["outcome"]:
            print(f"{name} {short(test)}: {old['outcome']} -> {now['outcome']}")


def main() -> int:
    options = parse(sys.argv[1:])
    options.checkout = options.checkout.resolve()
    version = check_version(options.checkout, options.other_version)
    reference = Side("reference", "cuda,cpu" if options.device == "gpu" else "cpu")
    options.called = options.called or ("cpu" if options.device == "cpu" else "gpu")
    ours = Side("mps", "mps" if options.called == "cpu" else "mps,cpu")
    suffix = "-x64" if options.x64 else ""
    folder = options.results or (
        ROOT / "build" / "jax-tests" / f"{version.split()[0]}-{options.device}{suffix}")
    folder.mkdir(parents=True, exist_ok=True)
    names = test_files(options.checkout, options.files)
    runner, stop = Runner(options, folder.resolve(), names, [reference, ours]), threading.Event()
    bar = threading.Thread(target=progress, args=(runner, stop), daemon=True)
    bar.start()
    runner.run()
    stop.set()
    bar.join()
    outcomes = {(job.name, job.side): job.results for job in runner.jobs}
    rows, unknown, unexpected = [], [], []
    for name in names:
        row = compare(name, outcomes[name, ours], outcomes[name, reference])
        known = known_failures(name, options.device)
        unknown += [(name, t, *f) for t, f in row.failures.items() if not reason_of(t, known)]
        passed = {short(t) for t, o in outcomes[name, ours].outcomes.items() if o["outcome"] == "passed"}
        for pattern in known:
            if any(is_named(t, (pattern,)) for t in passed) and not any(
                is_named(t, (pattern,)) for t in row.failures):
                unexpected.append((name, pattern))
        rows.append(row)
        if options.compare:
            report_changes(options.compare, name, outcomes[name, ours])
    print("\n" + table(rows) + "\n\n" + causes(rows))
    for name, test in unexpected:
        print(f"passes, although known as a failure: {name} {test}")
    for name, test, outcome, why in unknown:
        print(f"not known: {name} {test}: {outcome} {first_line(why)[:200]}")
    if options.update:
        update(options.update, options, version, rows)
    passed, total = sum(row.passed for row in rows), sum(row.counted() for row in rows)
    if unreached := sum(row.unreached for row in rows):
        print(f"{unreached} not reached")
    print(f"{passed} passed, {len(unknown)} failed, {total - passed - len(unknown)} known to fail, "
          f"{sum(row.several for row in rows)} for several devices")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
