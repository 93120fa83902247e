"""Drives the device's release client against repositories made by python-tuf, over HTTP on this machine.

usage: tuf-suite.py TUF_CLIENT    (needs the packages tuf and securesystemslib[crypto])
"""

import datetime
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading
import traceback
from urllib import parse

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole, Delegations, Metadata, MetaFile, Root, Snapshot, SuccinctRoles, TargetFile, Targets, Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
TOP = ["root", "timestamp", "snapshot", "targets"]


class Repo:
    """A repository whose versions are published one by one."""

    def __init__(self, make_key=CryptoSigner.generate_ecdsa):
        self.make_key = make_key
        expires = NOW + datetime.timedelta(days=30)
        self.md = {
            "root": Metadata(Root(expires=expires)),
            "timestamp": Metadata(Timestamp(expires=expires)),
            "snapshot": Metadata(Snapshot(expires=expires)),
            "targets": Metadata(Targets(expires=expires)),
        }
        self.signers, self.files, self.blobs, self.asked = {}, {}, {}, []
        self.hashes = False
        for role in TOP:
            self.add_key(role)
        self.first = True
        self.publish("targets", "snapshot", "timestamp", "root")
        self.first = False

    def __getitem__(self, role):
        return self.md[role].signed

    def add_key(self, role, delegator="root"):
        signer = self.make_key()
        self[delegator].add_key(signer.public_key, role)
        self.signers.setdefault(role, []).append(signer)
        return signer

    def rotate(self, role):
        for keyid in list(self["root"].roles[role].keyids):
            self["root"].revoke_key(keyid, role)
        self.signers[role] = []
        self.add_key(role)

    def publish(self, *roles, bump=True):
        for role in roles:
            md = self.md[role]
            if bump and not self.first:
                md.signed.version += 1
            md.signatures.clear()
            for signer in self.signers[role]:
                md.sign(signer, append=True)
            data = md.to_bytes(JSONSerializer(compact=False))
            version = md.signed.version
            quoted = parse.quote(role, "")
            plain = role == "timestamp" or (role != "root" and not self["root"].consistent_snapshot)
            self.files[f"{quoted}.json" if plain else f"{version}.{quoted}.json"] = data
            info = MetaFile.from_data(version, data, ["sha256"]) if self.hashes else MetaFile(version)
            if role == "snapshot":
                self["timestamp"].snapshot_meta = info
            elif role not in TOP[:2]:
                self["snapshot"].meta[f"{role}.json"] = info

    def publish_all(self):
        self.publish(*[role for role in self.md if role not in TOP[:3]], "snapshot", "timestamp")

    def target(self, role, path, content, hashes=("sha256",)):
        file = TargetFile.from_data(path, content, list(hashes))
        self[role].targets[path] = file
        folder, slash, name = path.rpartition("/")
        for digest in file.hashes.values():
            self.blobs[f"{folder}{slash}{digest}.{name}"] = content
        self.blobs[path] = content

    def delegate(self, delegator, name, paths, terminating=False):
        delegations = self[delegator].delegations
        if delegations is None:
            delegations = self[delegator].delegations = Delegations({}, roles={})
        delegations.roles[name] = DelegatedRole(name, [], 1, terminating, paths)
        if name not in self.md:
            self.md[name] = Metadata(Targets(expires=NOW + datetime.timedelta(days=30)))
            self.md[name].signed.version = 0
        self.add_key(name, delegator)


class Server(http.server.ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repo = None
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        _, kind, path = self.path.split("/", 2)
        repo = self.server.repo
        repo.asked.append(path)
        data = repo.files.get(path) if kind == "metadata" else repo.blobs.get(parse.unquote(path))
        if data is None:
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


SERVER = Server()
CASES = []


def case(function):
    CASES.append(function)
    return function


class Client:
    def __init__(self, repo):
        self.dir = tempfile.TemporaryDirectory()
        self.metadata, self.targets = (os.path.join(self.dir.name, name) for name in ("metadata", "targets"))
        os.mkdir(self.metadata)
        os.mkdir(self.targets)
        SERVER.repo = repo
        self.repo = repo
        root = os.path.join(self.dir.name, "root.json")
        with open(root, "wb") as file:
            file.write(repo.files["1.root.json"])
        assert self.run("init", root) == 0
        assert repo.asked == []

    def run(self, *args, days=0):
        base = f"http://127.0.0.1:{SERVER.server_address[1]}"
        self.repo.asked.clear()
        command = [sys.argv[1], "--metadata-dir", self.metadata, "--metadata-url", base + "/metadata/", *args]
        if days:
            command = ["faketime", "-f", f"+{days}d", *command]
        return subprocess.run(command, stderr=subprocess.DEVNULL).returncode

    def refresh(self, **kw):
        return self.run("refresh", **kw)

    def download(self, *names, **kw):
        base = f"http://127.0.0.1:{SERVER.server_address[1]}"
        flags = [word for name in names for word in ("--target-name", name)]
        return self.run(*flags, "--target-base-url", base + "/targets", "--target-dir", self.targets, "download", **kw)

    def version(self, role):
        try:
            with open(os.path.join(self.metadata, parse.quote(role, "") + ".json"), "rb") as file:
                return json.load(file)["signed"]["version"]
        except FileNotFoundError:
            return 0

    def versions(self):
        return [self.version(role) for role in TOP]

    def contents(self):
        names = sorted(os.listdir(self.targets))
        return [open(os.path.join(self.targets, name), "rb").read() for name in names]


@case
def refresh_in_order_and_byte_for_byte():
    repo = Repo()
    repo.files["timestamp.json"] += b"\n \n"
    client = Client(repo)
    assert client.refresh() == 0
    assert repo.asked == ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"], repo.asked
    for role, name in zip(TOP, ["1.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"]):
        assert open(os.path.join(client.metadata, role + ".json"), "rb").read() == repo.files[name]
    assert sorted(os.listdir(client.metadata)) == sorted(role + ".json" for role in TOP)


@case
def both_schemes_and_names_without_versions():
    for make_key in (CryptoSigner.generate_ed25519, CryptoSigner.generate_ecdsa):
        for consistent in (True, False):
            repo = Repo(make_key)
            repo["root"].consistent_snapshot = consistent
            repo.publish("root")
            repo.target("targets", "a/b", b"content")
            repo.publish_all()
            client = Client(repo)
            assert client.download("a/b") == 0
            assert client.contents() == [b"content"]


@case
def rsa_keys_are_carried_and_do_not_count():
    repo = Repo()
    signer = CryptoSigner.generate_rsa()
    repo["root"].add_key(signer.public_key, "timestamp")
    repo.publish("root")
    assert Client(repo).refresh() == 0
    repo["root"].roles["timestamp"].threshold = 2
    repo.signers["timestamp"].append(signer)
    repo.publish("root", "timestamp")
    assert Client(repo).refresh() == 1


@case
def broken_initial_roots_send_nothing():
    for change in (lambda root: root["signed"].pop("version"), lambda root: root["signatures"][0].update(sig="30")):
        repo = Repo()
        root = json.loads(repo.files["1.root.json"])
        change(root)
        repo.files["1.root.json"] = json.dumps(root).encode()
        client = Client(repo)
        assert client.refresh() == 1
        assert repo.asked == []


@case
def unsigned_roles_keep_what_came_before():
    for role, expected in (("root", [1, 0, 0, 0]), ("timestamp", [2, 0, 0, 0]), ("snapshot", [2, 2, 0, 0]), ("targets", [2, 2, 2, 0])):
        repo = Repo()
        client = Client(repo)
        repo.signers[role].pop()
        repo.publish("root", "targets", "snapshot", "timestamp")
        assert client.refresh() == 1
        assert client.versions() == expected, (role, client.versions())


@case
def thresholds_count_keys():
    repo = Repo()
    client = Client(repo)
    repo.add_key("snapshot")
    repo.add_key("snapshot")
    repo["root"].roles["snapshot"].threshold = 3
    repo.publish("root", "snapshot", "timestamp")
    assert client.refresh() == 0
    repo.signers["snapshot"].pop()
    repo.publish("snapshot", "timestamp")
    assert client.refresh() == 1
    assert client.version("snapshot") == 2


@case
def a_signature_twice_is_refused():
    repo = Repo()
    md = json.loads(repo.files["1.snapshot.json"])
    md["signatures"].append(md["signatures"][0])
    repo.files["1.snapshot.json"] = json.dumps(md).encode()
    client = Client(repo)
    assert client.refresh() == 1
    assert client.version("snapshot") == 0


@case
def one_wrong_signature_spoils_nothing():
    repo = Repo()
    client = Client(repo)
    repo.add_key("timestamp")
    for wrong in ("", "00", "3045022100ee448afe2d25"):
        repo.publish("root", "timestamp")
        md = json.loads(repo.files["timestamp.json"])
        md["signatures"][0]["sig"] = wrong
        repo.files["timestamp.json"] = json.dumps(md).encode()
        assert client.refresh() == 0


@case
def unknown_fields_count():
    repo = Repo()
    client = Client(repo)
    repo["root"].unrecognized_fields["custom"] = {"ü": [1, None, True, "\"\\\n"]}
    signer = repo.add_key("root")
    repo["root"].keys[signer.public_key.keyid].unrecognized_fields["keyid_hash_algorithms"] = ["md5"]
    repo["root"].roles["root"].unrecognized_fields["custom"] = "x"
    repo.publish("root")
    assert client.refresh() == 0
    assert client.version("root") == 2


@case
def rollbacks_are_refused():
    repo = Repo()
    repo.publish_all()
    client = Client(repo)
    assert client.refresh() == 0
    repo["timestamp"].version = 1
    repo.publish("timestamp", bump=False)
    assert client.refresh() == 1
    repo["timestamp"].version = 2
    repo["snapshot"].version = 1
    repo.publish("snapshot", bump=False)
    repo.publish("timestamp")
    assert client.refresh() == 1
    assert client.versions() == [1, 2, 2, 2]


@case
def a_changed_timestamp_of_the_same_version_is_ignored():
    repo = Repo()
    client = Client(repo)
    assert client.refresh() == 0
    repo["timestamp"].snapshot_meta.version = 100
    repo.publish("timestamp", bump=False)
    assert client.refresh() == 0
    assert repo.asked[-1] == "timestamp.json"


@case
def fast_forward_is_recovered_by_rotation():
    for role in ("timestamp", "snapshot"):
        repo = Repo()
        client = Client(repo)
        repo[role].version = 99999
        repo.publish(*([role] if role == "timestamp" else ["snapshot", "timestamp"]))
        assert client.refresh() == 0
        assert client.version(role) == 100000
        repo.rotate(role)
        repo.rotate("timestamp")
        repo[role].version = 1
        repo.publish("root", *([role] if role == "timestamp" else ["snapshot", "timestamp"]))
        assert client.refresh() == 0
        assert client.version(role) == 2


@case
def expiry_by_role():
    past = NOW - datetime.timedelta(days=1)
    for role, expected in (("root", [2, 1, 1, 1]), ("timestamp", [1, 1, 1, 1]), ("snapshot", [1, 2, 1, 1]), ("targets", [1, 2, 2, 1])):
        repo = Repo()
        client = Client(repo)
        assert client.refresh() == 0
        repo[role].expires = past
        if role == "root":
            repo.publish("root")
        repo.publish("targets", "snapshot", "timestamp")
        assert client.refresh() == 1
        assert client.versions() == expected, (role, client.versions())


@case
def digests_of_metadata():
    repo = Repo()
    repo.hashes = True
    repo.publish_all()
    client = Client(repo)
    assert client.refresh() == 0
    repo.publish("targets")
    repo["snapshot"].meta["targets.json"].hashes["sha256"] = "46" * 32
    repo.publish("snapshot", "timestamp")
    assert client.refresh() == 1
    assert client.versions() == [1, 3, 3, 2]


@case
def missing_files():
    for name, expected in (("timestamp.json", [1, 1, 1, 1]), ("2.snapshot.json", [1, 2, 1, 1]), ("2.targets.json", [1, 2, 2, 1])):
        repo = Repo()
        client = Client(repo)
        assert client.refresh() == 0
        repo.publish_all()
        del repo.files[name]
        assert client.refresh() == 1
        assert repo.asked[-1] == name and client.versions() == expected


@case
def targets_are_kept_and_not_fetched_twice():
    repo = Repo()
    for n in range(3):
        repo.target("targets", f"path/to/{n}", b"content %d" % n)
    repo.publish_all()
    client = Client(repo)
    assert client.download("path/to/0", "path/to/1") == 0
    assert client.contents() == [b"content 0", b"content 1"]
    assert client.download("path/to/0", "path/to/2", "missing", "path/to/1") == 1
    assert [name for name in repo.asked if "json" not in name] and len(client.contents()) == 3
    repo.target("targets", "path/to/0", b"changed")
    repo.publish_all()
    assert client.download("path/to/0") == 0
    assert client.contents() == [b"changed", b"content 1", b"content 2"]
    for path in list(repo.blobs):
        repo.blobs[path] = b"malicious"
    repo.target("targets", "path/to/1", b"newer")
    repo.blobs = {path: b"malicious" for path in repo.blobs}
    repo.publish_all()
    assert client.download("path/to/1") == 1
    assert client.contents() == [b"changed", b"content 1", b"content 2"]


@case
def digest_algorithms():
    for hashes in (["sha256"], ["sha512"], ["sha512", "sha256"]):
        repo = Repo()
        repo.target("targets", "file", b"content", hashes)
        repo.publish_all()
        assert Client(repo).download("file") == 0
    repo = Repo()
    repo.target("targets", "file", b"content", ["sha512"])
    hashes = repo["targets"].targets["file"].hashes
    hashes["unknown"] = hashes.pop("sha512")
    repo.publish_all()
    client = Client(repo)
    assert client.download("file") == 1
    assert client.contents() == []


@case
def delegations_depth_first():
    repo = Repo()
    for delegator, name, paths, terminating in (
        ("targets", "A", ["*.doc", "*.md"], False), ("targets", "B", ["releases/*/*"], False),
        ("B", "C", ["releases/x/*"], False), ("B", "D", ["releases/y/*.zip"], True), ("targets", "E", ["*/*/*"], False),
    ):
        repo.delegate(delegator, name, paths, terminating)
    for role, path in (("A", "README.md"), ("C", "releases/x/v1"), ("D", "releases/y/v1.zip"), ("E", "other/x/y"), ("E", "releases/y/v2.zip")):
        repo.target(role, path, path.encode())
    repo.publish_all()
    for path, asked in (("README.md", "A"), ("releases/x/v1", "BC"), ("releases/y/v1.zip", "BD"), ("other/x/y", "E")):
        client = Client(repo)
        assert client.download(path) == 0, path
        assert repo.asked[4:-1] == [f"1.{role}.json" for role in asked], repo.asked
    client = Client(repo)
    assert client.download("releases/y/v2.zip") == 1, "D ends the search"
    assert repo.asked[4:] == ["1.B.json", "1.D.json"], repo.asked


@case
def hash_bins():
    repo = Repo()
    signer = CryptoSigner.generate_ed25519()
    roles = SuccinctRoles([], 1, 4, "bin")
    repo["targets"].delegations = Delegations({}, None, roles)
    repo["targets"].add_key(signer.public_key)
    for name in roles.get_roles():
        repo.md[name] = Metadata(Targets(expires=NOW + datetime.timedelta(days=3)))
        repo.signers[name] = [signer]
    for n in range(20):
        repo.target(next(iter(roles.get_role_for_target(f"file {n}") if False else [roles.get_role_for_target(f"file {n}")])), f"file {n}", b"%d" % n)
    repo.publish_all()
    client = Client(repo)
    assert client.download(*[f"file {n}" for n in range(20)]) == 0


@case
def unusual_names():
    for name in ("?", "#", "/delegated", "../delegated", "a b", "ü%2F", ".", "x" * 300):
        repo = Repo()
        repo.delegate("targets", name, ["*"])
        repo.publish_all()
        client = Client(repo)
        assert client.download("nonexistent") == 1
        assert repo.asked[-1] == f"1.{parse.quote(name, '')}.json", repo.asked
        assert len([file for file in os.listdir(client.metadata) if file.endswith(".json")]) == 5


@case
def the_clock_can_be_faked():
    if subprocess.run(["sh", "-c", "command -v faketime"], stdout=subprocess.DEVNULL).returncode:
        print("  (faketime is not installed: left out)")
        return
    repo = Repo()
    repo["timestamp"].expires = NOW + datetime.timedelta(days=7)
    repo.publish_all()
    client = Client(repo)
    assert client.refresh() == 0
    assert client.refresh(days=8) == 1
    repo["timestamp"].expires = NOW + datetime.timedelta(days=21)
    repo.publish_all()
    assert client.refresh(days=18) == 0


def main():
    failed = 0
    for function in CASES:
        try:
            function()
            print("ok  ", function.__name__)
        except Exception:
            failed += 1
            print("FAIL", function.__name__)
            traceback.print_exc()
    print(f"{len(CASES) - failed} of {len(CASES)} passed")
    sys.exit(1 if failed else 0)


main()
