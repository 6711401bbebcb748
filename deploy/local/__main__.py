"""`python -m deploy.local up|down`: the local stack from the command line; `make up`, `make down` and `make demo` call it.

The composition root of the local stack; what a person reads in the terminal is written here.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from deploy.local import rabbitmq, store
from deploy.local.credentials import prepare_credentials
from deploy.local.lock import AlreadyRunning, Running, StackLock, hold, running_stack
from deploy.local.process import tail
from deploy.local.settings import SettingError, Settings, check_gateway_port, choose_ports, read_settings
from deploy.local.stack import TRAINER_STOP_SECONDS, addresses, programs
from deploy.local.supervisor import Console, StartFailed, Supervisor

CHECKOUT = Path(__file__).resolve().parents[2]
# Every stage may use its whole time; then the processes are killed one by one.
_DOWN_SECONDS = TRAINER_STOP_SECONDS + 60
_KILLED_SECONDS = 10
_DETACHED_READY_SECONDS = 180.0


def main(arguments: list[str]) -> int:
    """Run one command; the exit status is for make."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description="Trainyard on this machine")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="run the whole system in the foreground")
    up.add_argument("--trainers", type=int, help="how many trainers to run (TRAINERS, default 1)")
    up.add_argument("--detach", action="store_true", help="run it in the background and return when it is ready")
    commands.add_parser("down", help="end it")
    options = parser.parse_args(arguments)
    try:
        if options.command == "down":
            return down(read_settings(CHECKOUT, os.environ))
        settings = read_settings(CHECKOUT, os.environ, trainers=options.trainers)
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        return detach(settings) if options.detach else asyncio.run(run(settings))
    except (SettingError, rabbitmq.MissingRabbitMQ, store.MissingStore) as error:
        return _complain(options.command, str(error))
    except AlreadyRunning as error:
        where = f" at {error.running.url} (process {error.running.pid})" if error.running else ""
        return _complain(options.command, f"already running{where}; `make down` ends it")


async def run(settings: Settings) -> int:
    """The stack from start to end, in the foreground."""
    with hold(settings.data, settings.url) as lock:
        check_gateway_port(settings)
        ports = choose_ports(settings)
        _check_given(settings)
        to_run = programs(settings, ports, prepare_credentials(settings))
        console = Console(program.name for program in to_run)
        for part, address in addresses(settings, ports).items():
            if settings.given(part):
                console.say(f"{part} is given: using {_without_password(address)}")
        return await _supervise(Supervisor(to_run, console, settings.checkout), console, settings, lock)


async def _supervise(supervisor: Supervisor, console: Console, settings: Settings, lock: StackLock) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def asked(number: signal.Signals) -> None:
        if stop.is_set() and number == signal.SIGINT:
            console.say("ending everything at once")
            supervisor.kill()
        elif not stop.is_set():
            console.say("ending: trainers save a last checkpoint first (Ctrl-C again ends everything at once)")
            stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, asked, number)
    starting = asyncio.create_task(supervisor.start())
    stopping = asyncio.create_task(stop.wait())
    code = 0
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            lock.tell(Running(pid=os.getpid(), url=settings.url, ready=True))
            console.say(f"ready at {settings.url}")
            await stopping
    except* StartFailed as group:
        for error in group.exceptions:
            console.say(f"could not start: {error}")
        code = 1
    finally:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await supervisor.end()
        stopping.cancel()
    console.say("everything has ended")
    return code


def detach(settings: Settings) -> int:
    """Start the stack in the background, output to `up.log` in the data folder; return when it is ready."""
    if found := running_stack(settings.data):
        print(f"already running at {found.url}")
        return 0
    log = settings.data / "up.log"
    with open(log, "wb") as output:
        command = [sys.executable, "-m", "deploy.local", "up", "--trainers", str(settings.trainers)]
        child = subprocess.Popen(
            command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    deadline = time.monotonic() + _DETACHED_READY_SECONDS
    while time.monotonic() < deadline and child.poll() is None:
        if (found := running_stack(settings.data)) and found.ready:
            print(f"ready at {found.url} (its log: {log})")
            return 0
        time.sleep(0.2)
    if child.poll() is None:
        child.terminate()
    return _complain("up", f"the system did not start; the end of {log}:\n{tail(log)}")


def down(settings: Settings) -> int:
    """End the stack of this data folder and wait until no process of it is left."""
    found = running_stack(settings.data)
    if found is None:
        print("nothing is running")
        return 0
    print("ending: trainers save a last checkpoint first", flush=True)
    _end(found.pid)
    print("everything has ended")
    return 0


def _end(pid: int) -> None:
    """Tell a process to end and wait until it is gone; kill it where it takes too long. It needn't be our child."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        # When it is killed, the kernel ends the others with it.
        for number, seconds in ((signal.SIGTERM, _DOWN_SECONDS), (signal.SIGKILL, _KILLED_SECONDS)):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(process, number)
            if select.select([process], [], [], seconds)[0]:
                return
    finally:
        os.close(process)


def _check_given(settings: Settings) -> None:
    if (url := settings.given("MONGO_URL")) and not store.answers_ping(url):
        raise SettingError(f"MONGO_URL is set, but no store answers at {_without_password(url)}")
    if (url := settings.given("RABBITMQ_URL")) and not rabbitmq.answers_url(url):
        raise SettingError(f"RABBITMQ_URL is set, but no broker answers at {_without_password(url)}")


def _without_password(url: str) -> str:
    scheme, mark, rest = url.rpartition("://")
    user, at, address = rest.rpartition("@")
    return f"{scheme}{mark}{user.partition(':')[0]}{at}{address}"


def _complain(command: str, text: str) -> int:
    print(f"make {command}: {text}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
