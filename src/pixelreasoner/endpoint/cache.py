"""Replies on disk, by request: what was paid for once is not paid for again, whenever a run was killed."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Protocol, Self

from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.files import writing
from pixelreasoner.endpoint.ledger import Spending

FORM = 1
"""The number of the file's form, in its `user_version`."""
WAIT_S = 60.0
"""For another process that is writing."""
_TABLES = """
create table if not exists replies (
    key text primary key, purpose text not null, text text not null, finish text not null,
    prompt_tokens integer not null, completion_tokens integer not null, usd real not null,
    model text not null, estimated integer not null
) without rowid;
create table if not exists spent (
    purpose text primary key, requests integer not null, prompt_tokens integer not null,
    completion_tokens integer not null, usd real not null, estimated integer not null
) without rowid;
"""
_ADD = """
insert into spent values (?, 1, ?, ?, ?, ?) on conflict (purpose) do update set
    requests = requests + 1, prompt_tokens = prompt_tokens + excluded.prompt_tokens,
    completion_tokens = completion_tokens + excluded.completion_tokens, usd = usd + excluded.usd,
    estimated = estimated + excluded.estimated
"""
_TOTALS = "select * from spent order by purpose"


@dataclass(frozen=True)
class CachedReply:
    """What a server answered, as far as it is needed again; one that is of no use was paid for too."""

    text: str
    finish: str
    """`stop`, `length`, `content_filter`, or `refusal` where the model would not answer."""
    prompt_tokens: int
    completion_tokens: int
    usd: float
    """US dollars, at the prices of then."""
    model: str
    estimated: bool = False
    """Whether the tokens are an estimate: the server said nothing of them."""


class ResponseCache(Protocol):
    """Replies by the key of their request."""

    def get(self, key: str) -> CachedReply | None:
        """The reply to a request that was made before."""
        ...

    def put(self, key: str, reply: CachedReply, purpose: str) -> None:
        """Keep a reply; when this returns, no kill of the process loses it."""
        ...

    def totals(self) -> dict[str, Spending]:
        """What all replies that were ever put here have cost, by purpose."""
        ...


class MemoryCache:
    """Replies of this process."""

    def __init__(self) -> None:
        self._replies: dict[str, CachedReply] = {}
        self._spent: dict[str, Spending] = {}

    def get(self, key: str) -> CachedReply | None:
        return self._replies.get(key)

    def put(self, key: str, reply: CachedReply, purpose: str) -> None:
        self._replies[key] = reply
        self._spent[purpose] = self._spent.get(purpose, Spending()) + spending_of(reply)

    def totals(self) -> dict[str, Spending]:
        return dict(self._spent)


def spending_of(reply: CachedReply) -> Spending:
    """What one reply cost."""
    tokens = (reply.prompt_tokens, reply.completion_tokens)
    return Spending(1, *tokens, usd=reply.usd, estimated=int(reply.estimated))


def totals_in(path: Path) -> dict[str, Spending]:
    """What all replies in a file have cost, by purpose, without writing to it; nothing where there is none.

    Raises:
        RecordError: the file is damaged.
    """
    if not path.exists():
        return {}
    # A log beside the file is that of a run under way, or of one that was killed.
    way = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?{way}", uri=True)) as file:
            # A run that was killed while it made the file has left it without tables.
            (n_tables,) = file.execute("select count(*) from sqlite_master where name = 'spent'").fetchone()
            rows = file.execute(_TOTALS).fetchall() if n_tables else []
    except sqlite3.DatabaseError as e:
        raise RecordError(f"{path} cannot be read ({e}); move it away") from e
    return {purpose: Spending(*numbers) for purpose, *numbers in rows}


class SqliteCache:
    """Replies in one SQLite file, on a disk of this machine; for many threads and processes.

    A process that is killed at any moment leaves each reply there or not, and never a damaged file. After a
    power cut the last ones may be missing.
    """

    def __init__(self, path: Path) -> None:
        """The cache in a file, which is made where it is missing.

        Raises:
            RecordError: the file is damaged or no such cache, or the place cannot be written to.
        """
        self._path = path
        self._lock = RLock()
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with self._named():
            self._file = sqlite3.connect(path, timeout=WAIT_S, isolation_level=None, check_same_thread=False)
            try:
                self._open()
            except BaseException:
                self._file.close()
                raise

    def get(self, key: str) -> CachedReply | None:
        """The reply to a request that was made before.

        Raises:
            RecordError: the file is damaged.
        """
        columns = "text, finish, prompt_tokens, completion_tokens, usd, model, estimated"
        with self._lock, self._named():
            row = self._file.execute(f"select {columns} from replies where key = ?", (key,)).fetchone()
        return None if row is None else CachedReply(*row[:-1], estimated=bool(row[-1]))

    def put(self, key: str, reply: CachedReply, purpose: str) -> None:
        """Keep a reply, and count what it cost; when this returns, no kill of the process loses it.

        Raises:
            RecordError: the file is damaged, or the disk is full.
        """
        text = reply.text.encode(
            errors="replace"
        ).decode()  # half a character (a lone surrogate) has no place
        cost = (reply.prompt_tokens, reply.completion_tokens, reply.usd, reply.estimated)
        row = (key, purpose, text, reply.finish, *cost[:3], reply.model, reply.estimated)
        with self._lock, self._named(), self._transaction():
            self._file.execute(f"insert or ignore into replies values ({', '.join('?' * len(row))})", row)
            self._file.execute(_ADD, (purpose, *cost))

    def totals(self) -> dict[str, Spending]:
        """What all replies that were ever put here have cost, by purpose.

        Raises:
            RecordError: the file is damaged.
        """
        with self._lock, self._named():
            rows = self._file.execute(_TOTALS).fetchall()
        return {purpose: Spending(*numbers) for purpose, *numbers in rows}

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _open(self) -> None:
        """Prepare a file that is new, or see that it is of this form."""
        # Writers append to a log beside the file: a kill leaves a whole transaction or none.
        self._file.execute("pragma journal_mode = wal")
        self._file.execute("pragma synchronous = normal")
        with self._transaction():
            (form,) = self._file.execute("pragma user_version").fetchone()
            (n_tables,) = self._file.execute("select count(*) from sqlite_master").fetchone()
            if form not in (0, FORM) or (form == 0 and n_tables):
                raise RecordError(f"{self._path} is no cache of replies (form {FORM}); give another place")
            for statement in filter(str.strip, _TABLES.split(";")):
                self._file.execute(statement)
            self._file.execute(f"pragma user_version = {FORM}")

    @contextmanager
    def _transaction(self) -> Generator[None]:
        self._file.execute("begin immediate")
        try:
            yield
            self._file.execute("commit")
        except BaseException:
            if self._file.in_transaction:  # on a full disk, SQLite has taken it back itself
                self._file.execute("rollback")
            raise

    @contextmanager
    def _named(self) -> Generator[None]:
        """Errors of the database with the file's name and a remedy."""
        try:
            yield
        except sqlite3.OperationalError as e:
            raise RecordError(
                f"the cache of replies {self._path} cannot be used ({e}); see that it is a file that may be "
                f"written to, that the disk has room, and that no other program keeps it open"
            ) from e
        except sqlite3.DatabaseError as e:
            raise RecordError(
                f"the cache of replies {self._path} is damaged ({e}); move it away, with what is beside "
                f"it by that name. Its replies are then paid for again"
            ) from e
