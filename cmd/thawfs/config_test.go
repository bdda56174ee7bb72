package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// config writes the configuration of the user.
func (w *world) config(text string) string {
	w.t.Helper()
	path := w.path("home", ".config", "thawfs", "config.toml")
	mustWrite(w.t, path, text)
	if err := os.Chmod(path, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

func TestMistakesInTheConfiguration(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct{ name, text, want string }{
		{"unknown key", `cache-siez = "5G"`, "FILE: the key cache-siez is not known.\nDid you mean cache-size?"},
		{"underscores", `cache_size = "5G"`, "FILE: the key cache_size is not known.\nDid you mean cache-size?"},
		{"nothing like it", `colour = "blue"`, "FILE: the key colour is not known.\nKeys are the long flags of: thawfs mount --help"},
		{"of one call", `foreground = true`, "FILE: the key foreground is not known.\nKeys are the long flags of: thawfs mount --help"},
		{
			"bad value", `cache-size = "big"`,
			"FILE: cache-size: \"big\" is not a size: write 500M (million bytes), 10GiB (2^30) or a number of bytes.",
		},
		{"table as value", "[ttl]\na = 1", "FILE: ttl: a value is a text, a number, true or false."},
		{"unknown key of a remote", "[remotes.a]\nsource = \"s3://\"\nregoin = \"x\"", "FILE: the key remotes.a.regoin is not known.\nDid you mean region?"},
		{"no source", "[remotes.a]\nregion = \"x\"", "FILE: remotes.a has no source.\nWrite one such as source = \"s3://BUCKET\"."},
		{"bad source", "[remotes.a]\nsource = \"photos\"", "FILE: remotes.a: the source \"photos\" has no scheme.\nDid you mean s3://photos? " + knownSources},
		{"relative directory", "[remotes.a]\nsource = \"local:store\"", "FILE: remotes.a: the directory store is not an absolute one.\nWrite it from the root on: local:/..."},
		{"bad name", "[remotes.\"a/b\"]\nsource = \"s3://\"", "FILE: remotes.a/b: a name has up to 64 letters, digits, -, _ and .\nChoose another name."},
		{"taken name", "[remotes.s3]\nsource = \"s3://\"", "FILE: remotes.s3: the name stands for something else.\nChoose another name."},
		{"no table", `remotes = 5`, "FILE: remotes is a table.\nWrite [remotes.NAME] above the keys of a remote."},
		{"no TOML", "cache-size = 5G", "FILE:1:15: strings must be quoted.\nValues are written as in key = \"text\", key = 5 or key = true."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := w.config(tt.text)
			want := "thawfs: " + strings.ReplaceAll(tt.want, "FILE", path)
			o := w.run("config", "check")
			if o.code != exitUsage || strings.TrimSpace(o.stderr) != want {
				t.Errorf("exit %d\n%swant\n%s", o.code, o.stderr, want)
			}
		})
	}
	path := w.config("cache-siez = 5")
	w.run("mount", "local:store", w.mkdir("mnt")).want(t, exitUsage, "thawfs: "+path+": the key cache-siez is not known.\nDid you mean cache-size?")
	secret := w.config("[remotes.a]\nsource = \"s3://\"\naccess-key-id = \"k\"\nsecret-access-key = \"s\"\n")
	if err := os.Chmod(secret, 0o644); err != nil {
		t.Fatal(err)
	}
	w.run("config", "check").want(t, exitUsage, "thawfs: "+secret+": others can read it, and it holds secrets.\nKeep them out with: chmod 600 "+secret)
	w.run("config", "check", "--config", "/nowhere").want(t, exitUsage, "thawfs: the configuration /nowhere cannot be read: no such file or directory.")
}

// TestPrecedenceOfOptions: flags, the environment, the remote, the rest of the file.
func TestPrecedenceOfOptions(t *testing.T) {
	w := newWorld(t)
	t.Setenv("HOME", w.path("home"))
	t.Setenv("XDG_CONFIG_HOME", "")
	w.config(`
cache-size = "1G"
memory = "32M"
ttl = "1m"
storage-class-rule = ["*.a=GLACIER", "*.b=DEEP_ARCHIVE"]

[remotes.photos]
source = "s3://photos"
cache-size = "2G"
memory = "33M"
read-only = true
recall-budget-objects = 7
`)
	read := func(env, args string) *job {
		t.Helper()
		if env != "" {
			t.Setenv("THAWFS_CACHE_SIZE", env)
		}
		o := newOptions()
		flags := flagsOf(o)
		words := strings.Fields(args)
		if err := flags.Parse(words); err != nil {
			t.Fatal(err)
		}
		j, err := newJob(o, flags, append(flags.Args(), "/mnt"), nil)
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	check := func(what string, got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	j := read("", "photos:2024/x")
	check("source", j.source.String(), "s3://photos/2024/x")
	check("cache-size of the remote", j.cacheSize, byteSize(2e9))
	check("ttl of the file", j.ttl.String(), "1m0s")
	check("read-only of the remote", j.readOnly, true)
	check("budget of the remote", j.recall.objects, objectLimit(7))
	check("rules of the file", j.classes.rules.String(), "*.a=GLACIER,*.b=DEEP_ARCHIVE")
	j = read("", "s3://other")
	check("cache-size of the file", j.cacheSize, byteSize(1e9))
	check("read-only of no remote", j.readOnly, false)
	j = read("", "-o cache_size=4G,rw --memory 64M --storage-class-rule *.c=GLACIER photos:")
	check("cache-size of -o", j.cacheSize, byteSize(4e9))
	check("memory of a flag", j.memory, byteSize(64e6))
	check("read-only of -o", j.readOnly, false)
	check("rules of a flag", j.classes.rules.String(), "*.c=GLACIER")
	j = read("3G", "photos:")
	check("cache-size of the environment", j.cacheSize, byteSize(3e9))
	j = read("3G", "--cache-size 5G photos:")
	check("cache-size of a flag", j.cacheSize, byteSize(5e9))
}

func TestRemotesAreMountedByName(t *testing.T) {
	w := newWorld(t)
	store := w.path("store")
	createBucket(t, store, "box")
	w.config("[remotes.shed]\nsource = \"local:" + store + "\"\n")
	if o := w.must("config", "check"); !strings.Contains(o.stdout, "no mistakes found.\n  shed:            local:"+store) {
		t.Errorf("config check: %+v", o)
	}
	mnt := w.mount("shed:box", "mnt")
	mustWrite(t, mnt+"/a", "by name")
	w.must("umount", mnt)
	if got := localObject(t, store, "box", "a"); got != "by name" {
		t.Errorf("the store has %q", got)
	}
	w.run("mount", "shde:", mnt).want(t, exitUsage, "thawfs: there is no remote \"shde\".\nDid you mean shed:?")
	w.run("mount", "cellar:", mnt).want(t, exitUsage, "thawfs: there is no remote \"cellar\".\nThe configuration has shed.\n"+knownSources)
}

// TestSecretsOfTheConfigurationStayThere looks for them wherever a mount shows itself.
func TestSecretsOfTheConfigurationStayThere(t *testing.T) {
	w, g, bucket := gated(t)
	env := w.env[:0:0]
	for _, e := range w.env {
		if !strings.HasPrefix(e, "AWS_") {
			env = append(env, e)
		}
	}
	w.env = append(env, "AWS_EC2_METADATA_DISABLED=true")
	w.config("log-level = \"debug\"\n[remotes.gw]\nsource = \"s3://\"\nendpoint = \"" + g.url + "\"\nregion = \"" + bucket.server.Region +
		"\"\naccess-key-id = \"" + bucket.server.AccessKey + "\"\nsecret-access-key = \"" + bucket.server.SecretKey + "\"\n")
	mnt := w.mount("gw:"+bucket.name, "mnt")
	mustWrite(t, mnt+"/a", "x")
	w.must("flush", mnt)
	cmdline, err := os.ReadFile("/proc/" + fmt.Sprint(w.pid(mnt)) + "/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{
		"the log": w.logs(), "status": w.must("status", "--json").stdout, "config check": w.must("config", "check").stdout,
		"the command line": string(cmdline),
	} {
		if strings.Contains(text, bucket.server.SecretKey) {
			t.Errorf("%s tells the secret key", what)
		}
	}
	if got := bucket.get(t, "a"); got != "x" {
		t.Errorf("the store has %q", got)
	}
}

func TestImportOfOtherTools(t *testing.T) {
	w := newWorld(t)
	home := func(path, text string) {
		mustWrite(t, w.path("home", path), text)
	}
	home(".aws/config", "[default]\nregion = eu-west-1\n[profile backup]\nregion = eu-central-1\nendpoint_url = http://localhost:9000\ns3 =\n  max_concurrent_requests = 20\n[sso-session my]\nsso_region = us-east-1\n")
	home(".config/rclone/rclone.conf", "[b2 cold]\ntype = s3\nprovider = Other\naccess_key_id = K\nsecret_access_key = S#;x\nendpoint = s3.example.com\n[drive]\ntype = drive\n")
	home(".mc/config.json", `{"version":"10","aliases":{"gcs":{"url":"https://storage.googleapis.com","accessKey":"YOUR-ACCESS-KEY-HERE","secretKey":"YOUR-SECRET-KEY-HERE"},"mine":{"url":"http://minio:9000","accessKey":"a","secretKey":"b","api":"S3v4","path":"auto"}}}`)
	home(".config/openstack/clouds.yaml", "clouds:\n  ovh:\n    region_name: GRA\n    auth:\n      password: secret\n")
	o := w.must("config", "import")
	for _, want := range []string{
		"[remotes.default]\nsource = 's3://'\nprofile = 'default'\nregion = 'eu-west-1'\n",
		"[remotes.backup]\nsource = 's3://'\nendpoint = 'http://localhost:9000'\nprofile = 'backup'\nregion = 'eu-central-1'\n",
		"[remotes.b2-cold]\nsource = 's3://'\naccess-key-id = 'K'\nendpoint = 'https://s3.example.com'\nsecret-access-key = 'S#;x'\n",
		"[remotes.ovh]\nsource = 'swift://'\nos-cloud = 'ovh'\n",
		"[remotes.mine]\nsource = 's3://'\naccess-key-id = 'a'\nendpoint = 'http://minio:9000'\nsecret-access-key = 'b'\n",
	} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("import lacks\n%s\nin\n%s", want, o.stdout)
		}
	}
	if !strings.Contains(o.stderr, `left out drive: it is of type "drive"`) || !strings.Contains(o.stderr, "left out gcs: it has no keys") {
		t.Errorf("import said %q", o.stderr)
	}
	tty := startOnTerminal(t, w.command("config", "import"))
	if code := tty.wait(); code != 0 || strings.Contains(tty.text(), "S#;x") || !strings.Contains(tty.text(), "***") {
		t.Errorf("on a terminal: exit %d, %q", code, tty.text())
	}
	w.config("# mine\n[remotes.mine]\nsource = \"s3://kept\"\n")
	if o := w.must("config", "import", "--write"); !strings.Contains(o.stdout, "backup: added, from ") || !strings.Contains(o.stderr, "mine is there already") {
		t.Errorf("import --write: %+v", o)
	}
	o = w.must("config", "check")
	for _, want := range []string{"b2-cold:", "mine:            s3://kept"} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("config check after import lacks %q:\n%s", want, o.stdout)
		}
	}
	if info, err := os.Stat(w.path("home", ".config", "thawfs", "config.toml")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the configuration is %v, %v, want mode 0600", info.Mode(), err)
	}
	if o := w.must("config", "import", "--write"); o.stdout != "" {
		t.Errorf("the second import added %q", o.stdout)
	}
}
