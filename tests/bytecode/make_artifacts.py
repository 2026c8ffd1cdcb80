"""Writes artifacts/*.bc with jaxlib's serializer, and golden/*.txt as mlirbc-dump prints them.

python make_artifacts.py MLIRBC_DUMP [--golden-only]
"""

import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
# Each program at its oldest version, and at these: all bytecode versions, and the steps of the ops.
KEPT = ("0.9.0", "0.11.0", "0.13.0", "0.14.0", "1.0.0", "1.10.0", "1.16.0")
# These at few versions only: they are larger.
LARGE = {"shapes": ("0.9.0", "1.16.0"), "jax_random": ("1.10.0",), "jax_train_step": ("0.9.0", "1.16.0"),
         "jax_indexing": ("0.13.0", "1.16.0"), "jax_convolutions": ("1.0.0",), "jax_scan": ("0.14.0", "1.16.0"),
         "jax_donation": ("1.16.0",), "jax_composites": ("0.19.0", "1.8.0", "1.16.0"),
         "newest": ("1.18.0", "1.22.0"), "elementwise": ("0.9.0", "1.10.0"),
         "control": ("0.9.0", "0.13.0", "1.16.0")}  # fmt: skip


def write_artifacts():
    import programs

    for old in (HERE / "artifacts").glob("*.bc"):
        old.unlink()
    for program in programs.all_programs():
        targets = LARGE.get(program.name, (program.oldest, *KEPT))
        for target in set(targets) & set(program.targets()):
            path = HERE / "artifacts" / f"{program.name}.{target}.bc"
            path.write_bytes(program.serialize(target))


def write_golden(dump):
    for old in (HERE / "golden").glob("*.txt"):
        old.unlink()
    for path in sorted((HERE / "artifacts").glob("*.bc")):
        text = subprocess.run([dump, path], check=True, capture_output=True).stdout
        (HERE / "golden" / f"{path.stem}.txt").write_bytes(text)


if __name__ == "__main__":
    for folder in ("artifacts", "golden"):
        (HERE / folder).mkdir(exist_ok=True)
    if "--golden-only" not in sys.argv:
        write_artifacts()
    write_golden(sys.argv[1])
