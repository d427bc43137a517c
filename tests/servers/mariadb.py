"""MariaDB, of the test run's own or somebody's: databases that come and go with a test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from secrets import token_hex
from urllib.parse import unquote, urlsplit

from servers.server import Server, answers, free_port, installed


class MariaDatabases:
    """A server by its URL, `mysql://user:password@host:port/database`."""

    #: whether a test may stop it, kill it or pause it
    own = False

    def __init__(self, url: str) -> None:
        self.url = url

    def database(self) -> str:
        """Creates an empty one, and returns its URL."""
        name = f"t_{token_hex(6)}"
        self.sql(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        return urlsplit(self.url)._replace(path=f"/{name}").geturl()

    def drop(self, url: str) -> None:
        self.sql(f"DROP DATABASE IF EXISTS {urlsplit(url).path[1:]}")

    def sql(self, statement: str, url: str = "") -> list[tuple[str, ...]]:
        """Runs it in the database of `url` by the client, and returns its rows as text; NULL is 'NULL'."""
        parts = urlsplit(url or self.url)
        done = subprocess.run(
            [
                installed("mariadb"), "--no-defaults", "--batch", "--skip-column-names",
                "--default-character-set=utf8mb4",
                f"--host={parts.hostname}", f"--port={parts.port or 3306}", f"--user={unquote(parts.username or '')}",
                "--protocol=tcp", parts.path[1:],
            ],
            input=statement, capture_output=True, text=True, timeout=60,
            env=os.environ | {"MYSQL_PWD": unquote(parts.password or "")},
        )  # fmt: skip
        assert done.returncode == 0, f"{statement}\n{done.stderr}"
        return [tuple(line.split("\t")) for line in done.stdout.splitlines()]


class MariaDB(Server, MariaDatabases):
    """Takes `sluice` with the password `sluice` on 127.0.0.1.

    It writes its log at each commit, but does not wait for the disk: it may be killed, the machine may not.
    """

    user = "mysql"
    own = True

    def __init__(self, **options: str) -> None:
        """options: settings of the server by name, as in max_connections="20"."""
        Server.__init__(self)
        self.port = free_port()
        self.options = {
            "bind_address": "127.0.0.1",
            "port": str(self.port),
            "socket": str(self.folder / "socket"),
            "pid_file": str(self.folder / "pid"),
            "innodb_flush_log_at_trx_commit": "2",
            "innodb_buffer_pool_size": "32M",
            "performance_schema": "OFF",
            "skip_name_resolve": "ON",
        } | options
        MariaDatabases.__init__(self, f"mysql://sluice:sluice@127.0.0.1:{self.port}/sluice")

    def prepare(self) -> None:
        installed("mariadbd")
        self.run(
            installed("mariadb-install-db"), "--no-defaults", *(["--user=mysql"] if os.getuid() == 0 else []),
            f"--datadir={self.folder / 'data'}", "--auth-root-authentication-method=normal", "--skip-test-db",
        )  # fmt: skip
        (self.folder / "init.sql").write_text(
            "CREATE DATABASE IF NOT EXISTS sluice CHARACTER SET utf8mb4;\n"
            "CREATE USER IF NOT EXISTS sluice@'127.0.0.1' IDENTIFIED BY 'sluice';\n"
            "GRANT ALL ON *.* TO sluice@'127.0.0.1' WITH GRANT OPTION;\n"
        )

    def command(self) -> Sequence[str]:
        options = [f"--{name.replace('_', '-')}={value}" for name, value in self.options.items()]
        data, start = f"--datadir={self.folder / 'data'}", f"--init-file={self.folder / 'init.sql'}"
        return [installed("mariadbd"), "--no-defaults", data, start, *options]

    def ready(self) -> bool:
        # It opens the port before the statements of its start have run, but takes no client until they have.
        return answers(self.port)
