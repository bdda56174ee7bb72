"""Makes the database and keys of a Keystone for tests, once:

    keystone.py DIR

Users (in domain Default unless said otherwise):
    admin/adminpass      admin of project admin
    swift/swiftpass      the service itself
    thaw/thawpass        in domain cold, member of project ice there and of project void, which
                         exists for nothing; has the application credential thawcred/credsecret
URLs of the catalog begin with http://keystone.invalid and http://swift.invalid; launch.py
replaces them in a copy.
"""
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request

D = sys.argv[1]
CONF = os.path.join(D, "keystone.conf")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


PORT = free_port()
URL = "http://127.0.0.1:%d/v3" % PORT


def ask(method, path, body=None, token=None):
    req = urllib.request.Request(URL + path, json.dumps(body).encode() if body is not None else None, method=method)
    req.add_header("Content-Type", "application/json")
    if token:
        req.add_header("X-Auth-Token", token)
    try:
        with urllib.request.urlopen(req, timeout=120) as r:
            text = r.read()
            return r.headers, json.loads(text) if text else {}
    except urllib.error.HTTPError as e:
        sys.exit("%s %s: %s %s" % (method, path, e, e.read().decode()))


def login(user, password, domain, project, project_domain):
    headers, answer = ask("POST", "/auth/tokens", {"auth": {
        "identity": {"methods": ["password"], "password": {"user": {"name": user, "password": password, "domain": {"name": domain}}}},
        "scope": {"project": {"name": project, "domain": {"name": project_domain}}}}})
    return headers["X-Subject-Token"], answer["token"]["user"]["id"]


def manage(*args):
    subprocess.run(["keystone-manage", "--config-file", CONF, *args], check=True)


def prepare():
    with open(CONF, "w") as f:
        f.write("[database]\nconnection = sqlite:///%s/keystone.db?timeout=30\nsqlite_synchronous = false\n"
                "[token]\nprovider = fernet\n[fernet_tokens]\nkey_repository = %s/fernet\n"
                "[credential]\nkey_repository = %s/cred\n[cache]\nenabled = false\n"
                "[identity]\npassword_hash_rounds = 4\n" % (D, D, D))  # fewest: nobody is to be kept out
    owner = ["--keystone-user", "root", "--keystone-group", "root"] if os.getuid() == 0 else []
    manage("db_sync")
    manage("fernet_setup", *owner)
    manage("credential_setup", *owner)
    public = "http://keystone.invalid/v3"
    manage("bootstrap", "--bootstrap-password", "adminpass", "--bootstrap-admin-url", public, "--bootstrap-public-url", public,
           "--bootstrap-internal-url", public, "--bootstrap-region-id", "RegionOne")
    # Without it the first write fails: "database is locked".
    sqlite3.connect(os.path.join(D, "keystone.db")).execute("pragma journal_mode=wal")


def populate():
    token, _ = login("admin", "adminpass", "Default", "admin", "Default")

    def make(kind, path, **fields):
        _, answer = ask("POST", path, {kind: fields}, token)
        return answer[kind]["id"]

    def role(name):
        _, answer = ask("GET", "/roles?name=" + name, token=token)
        return answer["roles"][0]["id"] if answer["roles"] else make("role", "/roles", name=name)

    def grant(project, user, name):
        ask("PUT", "/projects/%s/users/%s/roles/%s" % (project, user, role(name)), token=token)

    role("ResellerAdmin")
    service = make("project", "/projects", name="service", domain_id="default")
    swift = make("user", "/users", name="swift", password="swiftpass", domain_id="default")
    grant(service, swift, "admin")
    grant(service, swift, "service")
    store = make("service", "/services", type="object-store", name="swift")
    for interface in ("public", "internal"):
        make("endpoint", "/endpoints", service_id=store, interface=interface, region_id="RegionOne",
             url="http://swift.invalid/v1/AUTH_%(tenant_id)s")
    cold = make("domain", "/domains", name="cold")
    thaw = make("user", "/users", name="thaw", password="thawpass", domain_id=cold)
    for project in ("ice", "void"):
        grant(make("project", "/projects", name=project, domain_id=cold), thaw, "member")
    token, user = login("thaw", "thawpass", "cold", "ice", "cold")
    _, answer = ask("POST", "/users/%s/application_credentials" % user,
                    {"application_credential": {"name": "thawcred", "secret": "credsecret"}}, token)
    facts = {"user_id": user, "project_id": answer["application_credential"]["project_id"], "domain_id": cold,
             "credential_id": answer["application_credential"]["id"]}
    with open(os.path.join(D, "facts.json"), "w") as f:
        json.dump(facts, f)


def main():
    prepare()
    env = dict(os.environ, OS_KEYSTONE_CONFIG_FILES="keystone.conf", OS_KEYSTONE_CONFIG_DIR=D)
    server = subprocess.Popen(
        ["uwsgi", "--plugins-dir", "/usr/lib/uwsgi/plugins", "--plugins", "python3", "--master", "--no-orphans", "--die-on-term",
         "--workers", "1", "--lazy-apps", "--http-socket", "127.0.0.1:%d" % PORT, "--wsgi-file", "/usr/bin/keystone-wsgi-public",
         "--buffer-size", "65535"], env=env)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(URL, timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        populate()
    finally:
        server.terminate()
        server.wait()


main()
