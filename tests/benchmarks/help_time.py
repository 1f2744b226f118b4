"""`nova --help`: at most 1.6 times the wall time of a ten-line Typer program printing its help.

Run by hand: python tests/benchmarks/help_time.py [ROUNDS]. Both are started in turn; the medians are compared.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BAR = 1.6
PROGRAM = '''\
import typer

app = typer.Typer()

@app.command()
def hello(name: str, formal: bool = False) -> None:
    """Say hello."""
    print(f"Good day, {name}." if formal else f"Hi {name}!")

app()
'''


def took_ms(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return 1000 * (time.perf_counter() - start)


def main(rounds: int) -> int:
    nova = [str(Path(sys.executable).with_name("nova")), "--help"]
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "hello.py"
        program.write_text(PROGRAM)
        ten_lines = [sys.executable, str(program), "--help"]
        for command in (nova, ten_lines):
            took_ms(command)  # compiles what was not
        pairs = [(took_ms(nova), took_ms(ten_lines)) for _ in range(rounds)]
    ours, theirs = (statistics.median(times) for times in zip(*pairs, strict=True))
    print(f"nova --help {ours:.0f} ms, ten lines of Typer {theirs:.0f} ms: {ours / theirs:.2f} times (bar: {BAR})")
    return 0 if ours <= BAR * theirs else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
