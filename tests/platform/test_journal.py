"""The journal: what was appended is there, what a crash cut off is not, what was changed is refused."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from rayox_model.core.errors import DataError
from rayox_platform.runs.journal import encoded, open_journal
from rayox_platform.runs.journal_bucket import BucketJournal
from rayox_platform.runs.journal_file import FileJournal
from rayox_platform.storage.folders import LocalFolder

RECORDS = [{"kind": "started", "trial": number, "text": "Zürich\n\r\u2028"} for number in range(4)]

DIE_AFTER = """
import os, signal, sys
from pathlib import Path
from rayox_platform.runs.journal_file import FileJournal

path, left = Path(sys.argv[1]), int(sys.argv[2])
write = os.write

def dying(file, content):
    global left
    count = write(file, content[:left]) if left else 0
    left -= count
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return count

os.write = dying
journal = FileJournal(path)
for number in range(4):
    journal.append({"number": number})
    print(number, flush=True)
"""


@pytest.fixture
def journal(tmp_path):
    journal = open_journal(LocalFolder(tmp_path), "ledger")
    assert isinstance(journal, FileJournal)
    return journal


def test_what_was_appended_is_read_in_order_by_anyone(journal, tmp_path):
    assert journal.read() == []
    assert not list(tmp_path.iterdir())
    assert [journal.append(record) for record in RECORDS] == [0, 1, 2, 3]
    assert open_journal(LocalFolder(tmp_path), "ledger").read() == RECORDS


def test_a_tail_gives_each_record_once(journal):
    early, whole = journal.tail(), journal.tail(whole=True)
    journal.append(RECORDS[0])
    late = journal.tail()
    assert early() == whole() == RECORDS[:1]
    for record in RECORDS[1:]:
        journal.append(record)
    assert early() == whole() == late() == RECORDS[1:]
    assert early() == late() == []


@pytest.mark.slow
@pytest.mark.parametrize("strict", [True, False])
def test_a_tail_that_reads_while_a_line_is_cut_has_each_record_whole(tmp_path, strict):
    """A new writer cuts off what a crash has left at the very moment that somebody reads it."""
    path, line = tmp_path / "ledger.jsonl", encoded(0, {"number": 0})
    for _ in range(300):
        path.write_bytes(line + line[:-5])
        writer, tail = (
            FileJournal(path, durable=False, strict=strict),
            FileJournal(path, strict=strict).tail(whole=True),
        )
        seen = []
        with ThreadPoolExecutor(1) as pool:
            appended = pool.submit(writer.append, {"number": 1})
            while len(seen) < 2:
                seen += tail()
            appended.result()
        assert seen == [{"number": 0}, {"number": 1}]


def test_processes_and_threads_may_append_together(journal):
    others = [FileJournal(journal.path, durable=False) for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda number: others[number % 4].append({"number": number}), range(80)))
    assert sorted(numbers) == list(range(80))
    assert sorted(record["number"] for record in journal.read()) == list(range(80))


@pytest.mark.slow
def test_killed_at_any_byte_it_has_every_acknowledged_record_and_goes_on(tmp_path):
    """Each run of the writer is a process that the system kills at that byte of what it writes."""
    whole = b"".join(encoded(number, {"number": number}) for number in range(4))
    line = len(whole) // 4
    for at in (1, 8, 9, line // 2, line - 1, line, line + 1, 2 * line, 3 * line + 10, len(whole) - 1):
        path = tmp_path / f"{at}.jsonl"
        told: list[str] = []
        done = subprocess.run([sys.executable, "-c", DIE_AFTER, path, str(at)], capture_output=True, text=True)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert path.read_bytes() == whole[:at]
        acknowledged = len(done.stdout.split())
        journal = FileJournal(path, tell=told.append)
        found = journal.read()
        assert found == [{"number": number} for number in range(at // line)]
        assert acknowledged <= len(found)
        journal.append({"number": "next"})
        assert journal.read() == [*found, {"number": "next"}]
        assert bool(told) == bool(at % line)


def test_a_power_cut_that_left_zeros_in_the_last_record_costs_that_record_alone(journal):
    for record in RECORDS:
        journal.append(record)
    content = journal.path.read_bytes()
    last = content.rfind(b"\n", 0, -1) + 1
    told: list[str] = []
    for left in (b"\0" * 40, b"\0" * 20 + content[last + 20 :]):
        journal.path.write_bytes(content[:last] + left)
        assert FileJournal(journal.path).read(told.append) == RECORDS[:3]
    assert told[0] == f"{journal.path}: the last record was cut off by a crash after 40 bytes and is left out"


def test_any_flipped_bit_is_refused_with_its_line(journal):
    for record in RECORDS:
        journal.append(record)
    content = journal.path.read_bytes()
    starts = [0, *(at + 1 for at in range(len(content) - 1) if content[at : at + 1] == b"\n")]
    for at in range(len(content)):
        flipped = bytearray(content)
        flipped[at] ^= 1 << (at % 8)
        if flipped[at] == 0 and at >= starts[3]:
            continue  # as a power cut leaves it
        journal.path.write_bytes(flipped)
        line = sum(start <= at for start in starts)
        with pytest.raises(DataError, match=rf"ledger.jsonl:({line}|{line + 1}): this record is damaged"):
            FileJournal(journal.path).read()
        with pytest.raises(DataError, match="damaged"):
            FileJournal(journal.path).append(RECORDS[0])
        assert journal.path.read_bytes() == flipped, "nothing is changed"


def test_a_lost_or_doubled_record_is_refused(journal):
    for record in RECORDS:
        journal.append(record)
    lines = journal.path.read_bytes().splitlines(keepends=True)
    for wrong in ([*lines[:1], *lines[2:]], [*lines[:2], *lines[1:]]):
        journal.path.write_bytes(b"".join(wrong))
        with pytest.raises(DataError, match=r"ledger.jsonl:\d: this record is damaged: it is number \d where \d"):
            FileJournal(journal.path).read()


def test_a_file_that_shrank_under_a_writer_is_refused(journal):
    for record in RECORDS:
        journal.append(record)
    os.truncate(journal.path, 10)
    with pytest.raises(DataError, match="has shrunk"):
        journal.append(RECORDS[0])


def test_a_full_disk_leaves_no_half_of_a_record(journal, monkeypatch):
    journal.append(RECORDS[0])
    before = journal.path.read_bytes()
    write = os.write

    def full(file, content):
        if len(content) < 20:
            raise OSError(28, "No space left on device")
        return write(file, content[:-10])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        journal.append(RECORDS[1])
    assert journal.path.read_bytes() == before
    monkeypatch.undo()
    assert journal.append(RECORDS[1]) == 1
    assert journal.read() == RECORDS[:2]


def test_numbers_that_json_has_not_are_refused(journal):
    with pytest.raises(ValueError, match="not JSON compliant"):
        journal.append({"loss": float("nan")})
    assert journal.read() == []


@pytest.mark.slow
@pytest.mark.stores
def test_in_a_bucket_each_record_is_an_object_of_its_own(bucket):
    journal = open_journal(bucket, "ledger")
    tail = journal.tail()
    assert journal.read() == tail() == []
    assert [journal.append(record) for record in RECORDS[:2]] == [0, 1]
    other = open_journal(bucket, "ledger")
    assert other.append(RECORDS[2]) == 2
    assert journal.append(RECORDS[3]) == 3, "it sees what others have appended"
    assert journal.read() == other.read() == tail() == RECORDS
    assert tail() == []
    assert sorted(name.partition("/")[0] for name in bucket.files()) == ["ledger"] * 4


@pytest.mark.slow
def test_in_a_bucket_many_may_append_at_once_and_none_writes_over_another(bucket):
    writers = [BucketJournal(bucket.under("ledger")) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(writer.append, {"writer": who}) for who, writer in enumerate(writers) for _ in range(4)]
    assert sorted(job.result() for job in jobs) == list(range(12))
    found = writers[0].read()
    assert sorted(record["writer"] for record in found) == [0] * 4 + [1] * 4 + [2] * 4


@pytest.mark.slow
def test_in_a_bucket_damage_and_loss_are_refused_and_what_a_crash_left_beside_does_not_count(bucket):
    journal = open_journal(bucket, "ledger")
    for record in RECORDS:
        journal.append(record)
    names = sorted(bucket.under("ledger").files())
    left = f"ledger/{names[1].partition('/')[0]}/{'f' * 33}.json"
    bucket.write(left, encoded(1, {"never": "acknowledged"}))
    assert journal.read() == RECORDS
    bucket.remove(left)
    content = bucket.read(f"ledger/{names[2]}")
    bucket.write(f"ledger/{names[2]}", content.replace(b"started", b"finished"))
    with pytest.raises(DataError, match=r"s3://bucket/runs/mine/ledger/00000002/\w+.json: this record is damaged"):
        journal.read()
    bucket.remove(f"ledger/{names[2]}")
    with pytest.raises(DataError, match="ledger/00000002: this record is damaged: it is missing"):
        journal.read()
