"""The parts of the local stack that aren't ours: a private RabbitMQ node and the embedded store, started for real."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import aio_pika
import psutil
import pytest
from pamqp.common import FieldValue
from pymongo import MongoClient

from deploy.local import process, rabbitmq, store
from deploy.local.ports import free_ports, holder, is_free
from tests.support.broker import Broker
from tests.support.store import Store

QUORUM: dict[str, FieldValue] = {"x-queue-type": "quorum"}


async def put(url: str, body: bytes) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("kept", durable=True, arguments=QUORUM)
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, "kept", timeout=10)


async def take(url: str) -> bytes:
    async with await aio_pika.connect(url) as connection:
        queue = await (await connection.channel()).get_queue("kept")
        message = await queue.get(timeout=10)
        assert message is not None
        await message.ack()
        return message.body


async def test_a_killed_broker_comes_back_with_what_it_confirmed(private_rabbitmq: Broker) -> None:
    await put(private_rabbitmq.url, b"confirmed")
    await asyncio.sleep(2)  # a younger quorum queue may stay without a leader on RabbitMQ 3.10
    await asyncio.to_thread(private_rabbitmq.kill)
    assert not private_rabbitmq.node.ready()
    await asyncio.to_thread(private_rabbitmq.start)
    assert await take(private_rabbitmq.url) == b"confirmed"


async def test_each_virtual_host_is_empty(broker: Broker, amqp_url: str) -> None:
    await put(amqp_url, b"here")
    other = broker.fresh_url()
    assert other != amqp_url
    with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
        await take(other)


def test_a_node_is_one_process_and_listens_on_loopback_only(broker: Broker) -> None:
    listening = {
        connection.laddr[:1]
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.pid == broker.pid
    }
    assert listening == {("127.0.0.1",)}
    assert psutil.Process(broker.pid).name() == "beam.smp"


def test_addresses_of_brokers_are_checked(broker: Broker, store: Store) -> None:
    (nobody,) = free_ports(1)
    assert rabbitmq.answers_url(broker.url)
    assert rabbitmq.answers_url(broker.url.replace("amqp:", "amqps:"))  # of these only the port can be checked
    assert not rabbitmq.answers_url(f"amqp://127.0.0.1:{nobody}/")
    assert not rabbitmq.answers_url(f"amqps://127.0.0.1:{nobody}/")


def test_a_killed_store_comes_back_with_what_it_acknowledged(private_store: Store) -> None:
    with MongoClient[dict[str, int]](private_store.url) as client:
        client["a"]["b"].insert_one({"_id": 1})
    private_store.kill()
    assert not store.answers_ping(private_store.url)
    private_store.restart()
    with MongoClient[dict[str, int]](private_store.url) as client:
        assert client["a"]["b"].count_documents({}) == 1


def test_a_broker_that_cannot_start_says_what_it_printed(tmp_path: Path) -> None:
    port, dist_port, epmd_port = free_ports(3)
    broker = Broker(rabbitmq.RabbitNode(tmp_path / "broker", port, dist_port, epmd_port))
    broker.node.prepare()
    (tmp_path / "broker" / "mnesia").rmdir()
    (tmp_path / "broker" / "mnesia").symlink_to("/proc/nowhere")
    with pytest.raises((process.NotReady, OSError)):
        broker.start()
    broker.stop()
    assert is_free(port)
    assert is_free(epmd_port)


def test_a_child_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "import os, sys, time; from pathlib import Path; from deploy.local import process\n"
        "folder = Path(sys.argv[1])\n"
        "child = process.start(['sleep', '60'], env=os.environ, cwd=folder, log=folder / 'log')\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        deadline = time.monotonic() + 5
        while child.cmdline() != ["sleep", "60"]:  # from then on its life is tied to its parent's
            assert time.monotonic() < deadline
            time.sleep(0.01)
        parent.kill()
    gone, _ = psutil.wait_procs([child], timeout=5)
    assert gone or child.status() == psutil.STATUS_ZOMBIE  # nobody may be there to bury it


def test_a_child_that_ignores_the_first_signal_is_killed_with_all_it_started(tmp_path: Path) -> None:
    deaf = "trap '' TERM; sleep 60 & echo started; wait; wait"
    log = tmp_path / "log"
    child = process.start(["sh", "-c", deaf], env=os.environ, cwd=tmp_path, log=log)
    process.wait_ready(child, lambda: log.read_bytes() == b"started\n", seconds=5, log=log)
    (grandchild,) = psutil.Process(child.pid).children()
    began = time.monotonic()
    process.end(child, grace=0.4)
    assert 0.3 < time.monotonic() - began < 5
    assert child.returncode == -9
    gone, _ = psutil.wait_procs([grandchild], timeout=5)
    assert gone or grandchild.status() == psutil.STATUS_ZOMBIE


def test_a_child_that_is_never_ready_is_reported_with_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = process.start(["sh", "-c", "echo no luck; exit 3"], env=os.environ, cwd=tmp_path, log=log)
    with pytest.raises(process.NotReady, match="ended with code 3 before it was ready:\nno luck"):
        process.wait_ready(child, lambda: False, seconds=5, log=log)
    child = process.start(["sleep", "60"], env=os.environ, cwd=tmp_path, log=tmp_path / "empty")
    with pytest.raises(process.NotReady, match=r"was not ready after 0\.1 s:\n\(.*empty is empty\)"):
        process.wait_ready(child, lambda: False, seconds=0.1, log=tmp_path / "empty")
    process.end(child, grace=5)
    assert child.returncode == -15
    assert "no log at" in process.tail(tmp_path / "none")


def test_the_holder_of_a_port_is_named(store: Store) -> None:
    assert holder(store.node.port).endswith(f"(process {store.pid})")
