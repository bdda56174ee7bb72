"""Runs a whole OpenStack Swift, and Keystone if asked to, without systemd and in one directory.

    launch.py DIR PORT [KEYSTONE_CACHE TOKEN_SECONDS]

The proxy listens on 127.0.0.1:PORT once it serves; the other ports are chosen here and kept in
DIR/ports.json for the next start on the same data. Swift is imported once and forked into its
four servers, which makes the start three times as fast as four programs. Everything ends with
this process, also when it is killed.
"""
import ctypes
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time

D, PORT = sys.argv[1], int(sys.argv[2])
KEYSTONE, TOKEN_SECONDS = (sys.argv[3], int(sys.argv[4])) if len(sys.argv) > 3 else (None, 0)
SERVERS = ("account", "container", "object")
POLICIES = (("", "Policy-0"), ("-1", "PCA"))  # the second as OVH calls its archive


def write(name, text):
    with open(os.path.join(D, name), "w") as f:
        f.write(text)


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def free_ports(n):
    held = [socket.socket() for _ in range(n)]
    for s in held:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


def choose_ports():
    path = os.path.join(D, "ports.json")
    if not os.path.exists(path):
        names = SERVERS + ("memcached", "keystone")
        write("ports.json", json.dumps(dict(zip(names, free_ports(len(names))))))
    with open(path) as f:
        return json.load(f)


def await_port(port, patience=120):
    for _ in range(patience * 20):
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit("nothing listens on port %d" % port)


def configure(ports):
    write("swift.conf", "[swift-hash]\nswift_hash_path_suffix = thawfs\nswift_hash_path_prefix = thawfs\n"
          "[storage-policy:0]\nname = Policy-0\ndefault = yes\n[storage-policy:1]\nname = PCA\n")
    # Timeouts of production end requests on a machine that is busy with tests, and updates of
    # listings that come too late wait for a daemon that does not run here.
    default = ("[DEFAULT]\nuser = %s\nbind_ip = 127.0.0.1\nbind_port = %d\nworkers = 0\nswift_dir = %s\n"
               "conn_timeout = 30\nnode_timeout = 60\ncontainer_update_timeout = 60\nlog_level = WARNING\n")
    user = "root" if os.getuid() == 0 else os.environ.get("USER", "nobody")
    for s in SERVERS:
        write(s + ".conf", default % (user, ports[s], D) +
              "devices = %s/dev\nmount_check = false\nfallocate_reserve = 0\n"
              "[pipeline:main]\npipeline = healthcheck %s-server\n[app:%s-server]\nuse = egg:swift#%s\n"
              "[filter:healthcheck]\nuse = egg:swift#healthcheck\n" % (D, s, s, s))
    auth = "authtoken keystoneauth" if KEYSTONE else "tempauth"
    pipeline = ("catch_errors gatekeeper healthcheck cache listing_formats bulk tempurl %s copy "
                "container-quotas account-quotas slo dlo versioned_writes symlink proxy-server" % auth)
    conf = default % (user, PORT, D) + "[pipeline:main]\npipeline = %s\n" % pipeline
    conf += ("[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\nconn_timeout = 30\nnode_timeout = 60\n"
             "recoverable_node_timeout = 60\n")
    options = {
        "catch_errors": "", "gatekeeper": "", "healthcheck": "",
        "cache": "use = egg:swift#memcache\nmemcache_servers = 127.0.0.1:%d\nmemcache_max_connections = 64\n"
                 "connect_timeout = 30\npool_timeout = 60\nio_timeout = 30\nerror_suppression_limit = 1000000" % ports["memcached"],
        "listing_formats": "", "bulk": "", "tempurl": "", "copy": "", "container-quotas": "use = egg:swift#container_quotas",
        "account-quotas": "use = egg:swift#account_quotas", "slo": "", "dlo": "", "symlink": "",
        "versioned_writes": "allow_versioned_writes = true\nallow_object_versioning = true",
        "tempauth": "user_test_tester = testing .admin\nuser_other_tester = testing .admin",
        "keystoneauth": "operator_roles = admin, member\nreseller_admin_role = ResellerAdmin",
        "authtoken": "paste.filter_factory = keystonemiddleware.auth_token:filter_factory\n"
                     "auth_type = password\nusername = swift\npassword = swiftpass\nproject_name = service\n"
                     "project_domain_id = default\nuser_domain_id = default\ndelay_auth_decision = True\n"
                     "www_authenticate_uri = {0}\nauth_url = {0}\nmemcached_servers = 127.0.0.1:{1}\n"
                     "service_token_roles_required = true"
                     .format(keystone_url(ports), ports["memcached"]),
    }
    for name in dict.fromkeys(pipeline.split()[:-1]):
        text = options[name]
        if "use = " not in text and "paste." not in text:
            text = "use = egg:swift#%s\n%s" % (name.replace("-", "_"), text)
        conf += "[filter:%s]\n%s\n" % (name, text)
    write("proxy.conf", conf)


def make_rings(ports):
    from swift.common.ring import RingBuilder
    os.makedirs(os.path.join(D, "dev", "d1"), exist_ok=True)
    for s in SERVERS:
        for suffix, _ in POLICIES if s == "object" else POLICIES[:1]:
            builder = RingBuilder(4, 1, 0)
            builder.add_dev({"id": 0, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": ports[s], "device": "d1", "weight": 1.0})
            builder.rebalance()
            builder.get_ring().save(os.path.join(D, s + suffix + ".ring.gz"))


def keystone_url(ports):
    return "http://127.0.0.1:%d/v3" % ports["keystone"]


def start_keystone(ports):
    """Keystone over a copy of the database that keystone.py has made."""
    for name in ("fernet", "cred"):
        shutil.copytree(os.path.join(KEYSTONE, name), os.path.join(D, name), dirs_exist_ok=True)
    db = os.path.join(D, "keystone.db")
    if not os.path.exists(db):
        shutil.copy(os.path.join(KEYSTONE, "keystone.db"), db)
    con = sqlite3.connect(db)
    con.execute("pragma journal_mode=wal")
    con.execute("update endpoint set url = replace(url, 'http://keystone.invalid', ?)", ("http://127.0.0.1:%d" % ports["keystone"],))
    con.execute("update endpoint set url = replace(url, 'http://swift.invalid', ?)", ("http://127.0.0.1:%d" % PORT,))
    con.commit()
    con.close()
    write("keystone.conf", "[database]\nconnection = sqlite:///%s?timeout=30\nsqlite_synchronous = false\n"
          "[token]\nprovider = fernet\nexpiration = %d\nallow_expired_window = 0\n[fernet_tokens]\nkey_repository = %s/fernet\n"
          "[credential]\nkey_repository = %s/cred\n[cache]\nenabled = false\n[identity]\npassword_hash_rounds = 4\n"
          % (db, TOKEN_SECONDS, D, D))
    env = dict(os.environ, OS_KEYSTONE_CONFIG_FILES="keystone.conf", OS_KEYSTONE_CONFIG_DIR=D)
    subprocess.Popen(
        ["uwsgi", "--plugins-dir", "/usr/lib/uwsgi/plugins", "--plugins", "python3", "--master", "--no-orphans", "--die-on-term",
         "--workers", "1", "--threads", "4", "--enable-threads", "--lazy-apps", "--disable-logging",
         "--http-socket", "127.0.0.1:%d" % ports["keystone"], "--wsgi-file", "/usr/bin/keystone-wsgi-public", "--buffer-size", "65535"],
        env=env, preexec_fn=die_with_parent)


def serve(name):
    if os.fork():
        return
    die_with_parent()
    from swift.common.wsgi import run_wsgi
    os._exit(run_wsgi(os.path.join(D, name + ".conf"), name + "-server", verbose=True))


def main():
    ports = choose_ports()
    subprocess.Popen(["memcached", "-u", "root", "-l", "127.0.0.1", "-p", str(ports["memcached"]), "-U", "0", "-m", "32"],
                     preexec_fn=die_with_parent)
    if KEYSTONE:
        start_keystone(ports)
    configure(ports)
    from swift.common import utils
    utils.SWIFT_CONF_FILE = os.path.join(D, "swift.conf")  # before what reads it is imported
    import swift.account.server, swift.container.server, swift.obj.server, swift.proxy.server  # noqa: for the forks
    make_rings(ports)
    for s in SERVERS:
        serve(s)
    for s in SERVERS + ("memcached",) + (("keystone",) if KEYSTONE else ()):
        await_port(ports[s])
    serve("proxy")
    os.wait()
    sys.exit("one of Swift's processes has ended")


main()
