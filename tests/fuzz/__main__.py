"""``make fuzz``: the targets under libFuzzer, for a bounded time. ARGS: seconds (60) and "keep".

The compiled rooms that see a peer's octets are built by clang with its address
sanitizer into build/fuzz. What is found grows in build/fuzz/corpus; with "keep" the
part of it that adds coverage is copied to tests/fuzz/corpus. A failure leaves its
input in build/fuzz and ends the run with a status that is not 0.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "tests" / "fuzz" / "corpus"
PLACE = ROOT / "build" / "fuzz"
ROOMS = ("http/_http1", "http/_response", "observe/access")
FLAGS = ("-fsanitize=address,fuzzer-no-link", "-fno-omit-frame-pointer", "-g", "-O1", "-fPIC", "-w")


def build() -> None:
    """Put the package, with instrumented rooms in the place of the ordinary ones, into build/fuzz/lib."""
    package = PLACE / "lib" / "canter"
    shutil.rmtree(package, ignore_errors=True)
    for path in (ROOT / "core").rglob("*.py"):
        copy = package / path.relative_to(ROOT / "core")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    for room in ROOMS:
        source = PLACE / f"{room}.c"
        source.parent.mkdir(parents=True, exist_ok=True)
        name = "canter." + room.replace("/", ".")
        pyx = ROOT / "core" / f"{room}.pyx"
        run("-m", "cython", "-3", "-I", ROOT / "build" / "layout", "--module-name", name, "-o", source, pyx)
        library = package / (room + sysconfig.get_config_var("EXT_SUFFIX"))
        includes = ("-I", sysconfig.get_paths()["include"], "-I", str(ROOT / "core"))
        subprocess.run(["clang", *FLAGS, *includes, "-shared", "-o", library, source], check=True)


def run(*arguments: object, **environ: str) -> None:
    subprocess.run([sys.executable, *map(str, arguments)], check=True, env=os.environ | environ, cwd=PLACE)


def fuzz(target: str, *options: object) -> None:
    import atheris

    run(
        ROOT / "tests" / "fuzz" / "target.py",
        *options,
        FUZZ_TARGET=target,
        PATH=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
        LD_PRELOAD=str(Path(atheris.path()) / "asan_with_fuzzer.so"),
        ASAN_OPTIONS="detect_leaks=0:allocator_may_return_null=1",
        PYTHONMALLOC="malloc",
        PYTHONPATH=os.pathsep.join((str(PLACE / "lib"), str(ROOT))),
    )


def seeds() -> Path:
    """The cases of the policy, and a few of the border, as files."""
    sys.path.insert(0, str(ROOT))
    from tests.policy import CASES

    folder = PLACE / "seeds"
    folder.mkdir(parents=True, exist_ok=True)
    for number, case in enumerate(CASES):
        if len(case.request) < 2000:
            (folder / f"{number:04}").write_bytes(case.request)
    return folder


def handed_over() -> list[Path]:
    """What applications hand over, in the form of tests/fuzz/answers.py, as files."""
    from tests.fuzz.answers import answers

    folder = PLACE / "handed-over"
    folder.mkdir(exist_ok=True)
    for number, octets in enumerate(islice(answers(seed=2), 500)):
        (folder / f"{number:04}").write_bytes(octets)
    return [folder]


def main(arguments: list[str]) -> int:
    seconds = next((int(argument) for argument in arguments if argument.isdecimal()), 60)
    if shutil.which("clang") is None:
        print(
            "make fuzz needs clang (and its runtime): apt-get install clang libclang-rt-14-dev",
            file=sys.stderr,
        )
        return 2
    os.nice(10)
    build()
    first, *others = (PLACE / "corpus", KEPT, seeds())
    first.mkdir(parents=True, exist_ok=True)
    try:
        for target in ("parser", "differential"):
            fuzz(target, f"-max_total_time={seconds // 3}", "-max_len=3000", "-timeout=30", first, *others)
        answers = PLACE / "answers"
        answers.mkdir(exist_ok=True)
        fuzz(
            "answers",
            f"-max_total_time={seconds // 3}",
            "-max_len=3000",
            "-timeout=30",
            answers,
            *handed_over(),
        )
        if "keep" in arguments:
            fuzz("parser", "-set_cover_merge=1", "-use_counters=0", KEPT, first)
    except subprocess.CalledProcessError as error:
        print(f"fuzz: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
