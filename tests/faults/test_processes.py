"""Workers in processes of their own: killed, greedy, fertile and lying ones, and those who guard them."""

from __future__ import annotations

import psutil

from nova.fleet.terms import Resources

from .rig import Rig, below, lives, reaped, until, usd

# Says who it is, and starts what would outlive it: a child, and one that left its group and its parent.
FAMILY = """
tell(ctx.worker)
if os.fork() == 0:
    tell(ctx.worker)
    time.sleep(1000)
stranger = os.fork()
if stranger == 0:
    os.setsid()
    if os.fork() == 0:
        tell(ctx.worker)
        time.sleep(1000)
    os._exit(0)
os.waitpid(stranger, 0)
while not ctx.sleep(0.1):
    pass
"""
CHANNEL = """
import socket, stat
open_ones = map(int, os.listdir("/proc/self/fd"))
channel = next(fd for fd in open_ones if os.path.exists(f"/proc/self/fd/{fd}") and stat.S_ISSOCK(os.fstat(fd).st_mode))
"""


def guard(manager: int, name: str) -> psutil.Process:
    """The fork server or the leash of a manager."""
    children = psutil.Process(manager).children()
    (found,) = [one for one in children if name in " ".join(one.as_dict(["cmdline"], ad_value=[])["cmdline"])]
    return found


def family(rig: Rig, name: str, since: int = 0) -> list[int]:
    """The three processes of one run, the worker first."""
    return rig.pids(name, since + 3)[since : since + 3]


def gone(pids: list[int]) -> None:
    until(lambda: not any(lives(pid) for pid in pids), "nothing of the family lives", 3)


def test_whoever_is_killed_takes_the_whole_family_along_and_is_replaced(rig: Rig) -> None:
    for name in ("worker", "warden", "other"):
        rig.python(name, FAMILY, runtime="process")
    rig.bystander()
    manager = rig.start()
    worker, warden, other = (family(rig, name) for name in ("worker", "warden", "other"))
    psutil.Process(worker[0]).kill()
    psutil.Process(warden[0]).parent().kill()
    for name, pids in (("worker", worker), ("warden", warden)):
        run = rig.ended(name)
        assert (run.status, run.crash) == ("failed", True)
        gone(pids)
        assert all(map(lives, family(rig, name, since=3)))
    assert all(map(lives, other))
    for one in (guard(manager, "nursery"), psutil.Process(other[0]).parent()):
        one.kill()
    gone([*other, *family(rig, "worker", since=3), *family(rig, "warden", since=3)])
    assert all(map(lives, family(rig, "other", since=3)))
    rig.still_works()
    reaped(manager)
    everybody = below(manager)
    assert rig.stop() == ()
    assert [one.pid for one in everybody if lives(one.pid)] == []
    rig.check()


def test_a_killed_manager_leaves_no_process_behind_nor_does_one_that_stops(rig: Rig) -> None:
    rig.python("parent", FAMILY, runtime="process", replicas=2, every_s=0.1)
    manager = rig.start()
    rig.pids("parent", 6)
    everybody = below(manager)
    rig.kill(manager)
    until(lambda: not [one for one in everybody if lives(one.pid)], "all have gone with it", 5)
    rig.start()
    assert all(map(lives, rig.pids("parent", 12)[6:]))
    assert rig.stop() == ()
    assert not any(map(lives, rig.pids("parent", 12)))
    rig.check()


def test_limits_end_what_takes_too_much_and_nobody_else(rig: Rig) -> None:
    """Bounded: at most 320 MB are taken and 120 processes started, whatever the limits do."""
    limits = {
        "greedy": (Resources(memory_bytes=128 * 1024**2), "held = [bytearray(1 << 20) for _ in range(320)]"),
        "hungry": (Resources(memory_bytes=128 * 1024**2), """
            for _ in range(4):
                if os.fork() == 0:
                    held = bytearray(75 << 20)
                    for place in range(0, len(held), 4096):
                        held[place] = 1
                    time.sleep(1000)
            time.sleep(1000)"""),
        "fertile": (Resources(processes=20), """
            for _ in range(120):
                if os.fork() == 0:
                    tell("fertile")
                    time.sleep(1000)
                time.sleep(0.02)
            time.sleep(1000)"""),
        "curious": (Resources(open_files=40), "held = [open(os.devnull) for _ in range(100)]"),
        "busy": (Resources(cpu_s=1.0), "while True: pass"),
    }  # fmt: skip
    told = {
        "greedy": "more memory than its limit of 128 MB",
        "hungry": "more memory than its limit of 128 MB",
        "fertile": "more processes than its limit of 20",
        "curious": "Too many open files",
        "busy": "more processor time than its limit of 1s",
    }
    for name, (resources, body) in limits.items():
        rig.python(name, body, runtime="process", resources=resources)
    rig.bystander()
    manager = rig.start(WORKER_MAX_CRASHES="1")
    for name, words in told.items():
        run = rig.ended(name)
        assert (run.status, run.crash) == ("failed", True)
        assert words in (run.error or "")
    assert not any(map(lives, rig.pids("fertile")))
    assert len(rig.pids("fertile")) < 120, "it was not stopped in its middle"
    rig.still_works()
    reaped(manager)
    assert rig.stop() == ()
    rig.check()


LIES = {
    "closed": "os.close(channel); time.sleep(0.5)",
    "another": """os.execvp("sleep", ["sleep", "1000"])""",
    "half": """os.write(channel, b'{"call":"earn","args":[[9000000,"US'); os._exit(0)""",
    "garbage": r"""os.write(channel, b"\xff\x00 spend everything\n"); time.sleep(30)""",
    "stranger": """os.write(channel, b'{"call":"kill","args":["bystander"],"n":1}\\n'); time.sleep(30)""",
    "unknown": """os.write(channel, b'{"hello":1}\\n'); time.sleep(30)""",
    "negative": """os.write(channel, b'{"call":"spent","args":[[-5,"USD"],"x"],"n":1}\\n'); time.sleep(30)""",
    "endless": """
        try:
            while True:
                os.write(channel, b"x" * 65536)
        except OSError:
            os._exit(1)""",
}
FORGED = '{"call":"earn","args":[[9000000,"USD"],"1",null],"n":1,"worker":"bystander","run":"x"}'


def test_a_worker_that_breaks_the_talk_with_its_manager_fails_alone_and_books_for_nobody_else(rig: Rig) -> None:
    lies = {**LIES, "forger": f"os.write(channel, b{FORGED!r} + bytes([10])); time.sleep(0.5); os._exit(0)"}
    for name, body in lies.items():
        rig.python(name, CHANNEL + body, runtime="process")
    rig.bystander()
    manager = rig.start(WORKER_MAX_CRASHES="1")
    for name in lies:
        run = rig.ended(name, seconds=15)
        assert (run.status, run.crash) == ("failed", True), name
        assert run.error
    rig.still_works()
    reaped(manager)
    assert rig.stop() == ()
    for name in (*LIES, "bystander"):
        assert rig.booked(name, "revenue") == rig.booked(name, "cost") == usd("0")
    rig.check()
