package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// shotsEnv names a directory for screenshots that somebody wants to look at.
const shotsEnv = "THAWFS_TEST_SCREENSHOTS"

func TestStatusPageInABrowser(t *testing.T) {
	w, g, bucket := gated(t)
	mnt := w.mount("s3://"+bucket.name, "mnt", "--endpoint", g.url, "--status-address", "127.0.0.1:0")
	url := w.status(mnt).Page
	if err := os.Mkdir(mnt+"/2024", 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		mustWrite(t, fmt.Sprintf("%s/2024/img_%04d.jpg", mnt, i), strings.Repeat("x", 700_000))
	}
	w.must("flush", mnt)
	g.close()
	nasty := "2024/<img src=x onerror=alert(1)>.txt"
	mustWrite(t, mnt+"/"+nasty, "text")
	mustWrite(t, mnt+"/2024/holiday in the mountains with a rather long name.tar", strings.Repeat("y", 3<<20))
	shots := os.Getenv(shotsEnv)
	if shots == "" {
		shots = t.TempDir()
	}
	b := startBrowser(t)
	for _, screen := range []struct {
		name          string
		width, height int
	}{{"phone", 390, 844}, {"desktop", 1280, 900}} {
		b.open(url, screen.width, screen.height)
		b.until(`document.getElementById("health-text").textContent.startsWith("The store answers")`)
		b.until(`document.getElementById("uploads").textContent.includes("holiday in the mountains")`)
		b.until(`document.querySelector("#chart path.up").getAttribute("d").includes("L")`)
		var text string
		b.eval("document.body.innerText", &text)
		for _, want := range []string{"s3://" + bucket.name, "2 changes, 3.0 MiB", nasty, "put", "No errors"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q is not on the page:\n%s", screen.name, want, text)
			}
		}
		var wide, images int
		b.eval("document.documentElement.scrollWidth", &wide)
		b.eval(`document.querySelectorAll("img").length`, &images)
		if wide > screen.width {
			t.Errorf("%s: the page is %d pixels wide on a screen of %d", screen.name, wide, screen.width)
		}
		if images != 0 {
			t.Errorf("%s: the name of a file became part of the page", screen.name)
		}
		b.screenshot(filepath.Join(shots, screen.name+".png"))
	}
	g.open()
	b.until(`document.getElementById("pending").textContent === "Nothing waits"`)
	w.must("umount", mnt)
	b.until(`document.getElementById("health").className.includes("gone-state")`)
}

func TestWatchingPrograms(t *testing.T) {
	w := newWorld(t)
	mnt := w.mount("local:store", "mnt", "--status-address", "127.0.0.1:0")
	url := w.status(mnt).Page
	get := func(path, host string) (int, string) {
		t.Helper()
		r, err := http.NewRequest(http.MethodGet, url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if host != "" {
			r.Host = host
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }() // only read
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	for _, tt := range []struct {
		path, host string
		code       int
		want       string
	}{
		{"healthz", "", 200, "ok\n"},
		{"readyz", "", 200, "ok\n"},
		{"", "", 200, "page.js"},
		{"status", "", 200, `"mountpoint":"` + mnt + `"`},
		{"status", "evil.example.com", 403, "localhost only"},
		{"metrics", "", 200, `thawfs_mount_info{mountpoint="` + mnt + `"`},
		{"debug/pprof/", "", 404, ""},
		{"v1/mount", "", 404, ""},
	} {
		if code, body := get(tt.path, tt.host); code != tt.code || !strings.Contains(body, tt.want) {
			t.Errorf("GET /%s (Host %q): %d %q, want %d with %q", tt.path, tt.host, code, body, tt.code, tt.want)
		}
	}
	mustWrite(t, mnt+"/box/a", "x")
	w.must("flush", mnt)
	_, text := get("metrics", "")
	if !strings.Contains(text, "\nthawfs_stored_objects_total 1\n") {
		t.Errorf("metrics do not count the object:\n%s", text)
	}
	w.run("mount", "--status-address", strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/"), "local:other", w.mkdir("mnt2")).want(t, exitFailed,
		"thawfs: the status page cannot be served on "+strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/")+
			": address already in use.\nChoose another port with --status-address 127.0.0.1:PORT.")
}

// TestMetricsAreDocumented compares what is exposed with METRICS.md and the dashboard.
func TestMetricsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	dashboard, err := os.ReadFile("grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	w, g, bucket := gated(t)
	mnt := w.mount("s3://"+bucket.name, "mnt", "--endpoint", g.url)
	mustWrite(t, mnt+"/a", "x")
	w.must("flush", mnt)
	c := w.client(mnt)
	resp, err := c.send(t.Context(), http.MethodGet, "/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // only read
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	exposed := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (thawfs_\w+) `).FindAllStringSubmatch(string(text), -1) {
		exposed[m[1]] = true
		if !strings.Contains(string(doc), "`"+m[1]) {
			t.Errorf("METRICS.md does not tell of %s", m[1])
		}
	}
	if len(exposed) < 30 {
		t.Errorf("only %d metrics are exposed", len(exposed))
	}
	for what, content := range map[string][]byte{"METRICS.md": doc, "grafana.json": dashboard} {
		for _, name := range regexp.MustCompile(`thawfs_\w+`).FindAllString(string(content), -1) {
			name = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
			if !exposed[name] {
				t.Errorf("%s speaks of %s, which is not there", what, name)
			}
		}
	}
	// pprof is on the socket, and on nothing else.
	if _, err := c.send(t.Context(), http.MethodGet, "/debug/pprof/heap", nil); err != nil {
		t.Error(err)
	}
}
