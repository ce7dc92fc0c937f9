"""pgbouncer with the lines of docs/operate/postgresql.md: by the session it serves, by the transaction it is refused."""

import rotation
from .beside import Certificates, Issuer, Process, block, dropped, hand_over, version, with_ours

PASSWORD = "of-a-test-alone"
PROGRAM = "/usr/sbin/pgbouncer"


class Listening(rotation.Cluster):
    """A PostgreSQL that is spoken to over TCP, with TLS and passwords."""

    def __init__(self, folder, certificates):
        super().__init__(folder)
        self.stop()
        self.folder_of_all, self.certificates = folder, certificates
        (self.port,) = rotation.free_ports(1)
        copied = [self.folder / path.name for path in (certificates.certificate, certificates.key)]
        for source, copy in zip((certificates.certificate, certificates.key), copied):
            copy.write_bytes(source.read_bytes())
            copy.chmod(0o600)
        hand_over(*copied)
        lines = f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = '{self.folder}'\n"
        lines += f"ssl = on\nssl_cert_file = '{copied[0]}'\nssl_key_file = '{copied[1]}'\n"
        with (self.data / "postgresql.conf").open("a") as settings:
            settings.write(lines)
        (self.data / "pg_hba.conf").write_text("local all postgres trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n")
        self.run("pg_ctl", "-w", "-D", self.data, "-l", self.folder / "log", "start")
        for role in ("owner", "cardveil"):
            sql = f"ALTER ROLE {role} PASSWORD '{PASSWORD}'"
            self.run("psql", "-X", "-q", "-h", self.folder, "-p", str(self.port), "-U", "postgres", "-c", sql)
        self.lead_to(self.port)

    def lead_to(self, port):
        """The lines of the [store] section."""
        connection = f"host=127.0.0.1 port={port} user=cardveil dbname=cardveil"
        self.connection = store(self.folder_of_all, connection, self.certificates)


def store(folder, connection, certificates):
    """What stands between the quotes of store.postgres, and the two lines after it."""
    return f'{connection}"\npassword_file = "{password(folder)}"\npostgres_ca = "{certificates.ca}'


def password(folder):
    path = folder / "password"
    path.write_text(PASSWORD + "\n")
    path.chmod(0o600)
    return path


class Pooler(Process):
    def __init__(self, folder, name, cluster, mode="session"):
        (self.port,) = rotation.free_ports(1)
        home = folder / name
        home.mkdir()
        certificates = cluster.certificates
        for path in (certificates.certificate, certificates.key, certificates.ca):
            (home / path.name).write_bytes(path.read_bytes())
        (home / "userlist.txt").write_text("".join(f'"{role}" "{PASSWORD}"\n' for role in ("owner", "cardveil")))
        settings = home / "pgbouncer.ini"
        settings.write_text(with_ours(
            block("operate/postgresql.md", "[pgbouncer]"), ("/etc/pgbouncer/", f"{home}/"), ("host=10.0.0.5", "host=127.0.0.1"),
            ("port=5432", f"port={cluster.port}"), ("listen_addr = 10.0.0.6", "listen_addr = 127.0.0.1"),
            ("listen_port = 6432", f"listen_port = {self.port}"), ("pool_mode = session", f"pool_mode = {mode}"),
        ) + "unix_socket_dir =\n")
        hand_over(home, *home.iterdir())
        super().__init__([*dropped(), PROGRAM, settings], folder / f"{name}.log", ("127.0.0.1", self.port))


def pgbouncer(folder):
    certificates = Certificates(folder, ("IP:127.0.0.1",))
    cluster = Listening(folder, certificates)
    d = None
    try:
        with Pooler(folder, "session", cluster) as session, Pooler(folder, "transaction", cluster, "transaction") as transaction:
            cluster.lead_to(session.port)
            d = Issuer(folder, cluster, password(folder))
            d.start()
            for _ in range(50):
                status, token = d.issue(d.merchant_api())
                assert status == 201, status
                assert d.redeem(d.client_api(), token)[0] == 200
            doctor = d.run("doctor", "--json", fails=None).stdout
            assert "pooler" not in doctor, doctor
            d.stop()
            d.configure(f"port={session.port}", f"port={transaction.port}")
            for command in (("migrate", "--owner", "owner"), ("doctor",), ("serve",)):
                done = d.run(*command, fails=True)
                said = done.stdout + done.stderr
                assert "pooler hands out the server by the transaction" in said, f"{command}: {said}"
    finally:
        if d:
            d.kill()
        cluster.stop()
    return version(PROGRAM, "--version"), (
        "by the session, TLS and scram on both sides: 50 cards issued and redeemed; by the transaction: migrate, doctor and "
        "serve refuse it and name it"
    )
