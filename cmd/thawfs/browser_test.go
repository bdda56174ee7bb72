package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"testing"
	"time"
)

// A browser is a headless Chromium with one page, steered by the DevTools protocol over a
// pair of pipes (messages end in NUL).
type browser struct {
	t       *testing.T
	to      *os.File
	from    *bufio.Reader
	session string
	lastID  int
}

func startBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("the status page is tested in Chromium, which is not installed: make browser")
	}
	theirs, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, answers, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--hide-scrollbars", "--remote-debugging-pipe", "--user-data-dir="+t.TempDir(), "about:blank")
	cmd.ExtraFiles = []*os.File{theirs, answers}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = theirs.Close(), answers.Close() // it has them
	b := &browser{t: t, to: to, from: bufio.NewReaderSize(from, 1<<20)}
	t.Cleanup(func() {
		b.session = ""
		b.call("Browser.close", nil, nil)
		_ = to.Close() // it ends
		_ = cmd.Wait() // however it does
		_ = from.Close()
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var session struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &session)
	b.session = session.SessionID
	return b
}

// call makes one request and waits for its answer.
func (b *browser) call(method string, params, into any) {
	b.t.Helper()
	b.lastID++
	m := map[string]any{"id": b.lastID, "method": method}
	if params != nil {
		m["params"] = params
	}
	if b.session != "" {
		m["sessionId"] = b.session
	}
	out, err := json.Marshal(m)
	if err == nil {
		_, err = b.to.Write(append(out, 0))
	}
	if err != nil {
		b.t.Fatal(err)
	}
	for {
		in, err := b.from.ReadBytes(0)
		if err != nil {
			b.t.Fatalf("%s: %v", method, err)
		}
		var a struct {
			ID     int
			Result json.RawMessage
			Error  *struct{ Message string }
		}
		if err := json.Unmarshal(in[:len(in)-1], &a); err != nil {
			b.t.Fatal(err)
		}
		if a.ID != b.lastID {
			continue // an event
		}
		if a.Error != nil {
			b.t.Fatalf("%s: %s", method, a.Error.Message)
		}
		if into != nil {
			if err := json.Unmarshal(a.Result, into); err != nil {
				b.t.Fatal(err)
			}
		}
		return
	}
}

// open loads a page on a screen of that many CSS pixels.
func (b *browser) open(url string, width, height int) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{
		"width": width, "height": height, "deviceScaleFactor": 2, "mobile": width < 600,
	}, nil)
	b.call("Page.navigate", map[string]any{"url": url}, nil)
}

// eval is the value of a JavaScript expression.
func (b *browser) eval(expr string, into any) {
	b.t.Helper()
	var r struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct{ Text string }
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expr, "returnByValue": true}, &r)
	if r.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expr, r.ExceptionDetails.Text)
	}
	if err := json.Unmarshal(r.Result.Value, into); err != nil {
		b.t.Fatalf("%s: %v", expr, err)
	}
}

// until waits until a JavaScript expression is true.
func (b *browser) until(expr string) {
	b.t.Helper()
	is := false
	for deadline := time.Now().Add(30 * time.Second); !is; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			var text string
			b.eval("document.body.innerText", &text)
			b.t.Fatalf("waited 30 s for %s on the page:\n%s", expr, text)
		}
		b.eval("(() => { try { return Boolean("+expr+") } catch { return false } })()", &is) // it may still load
	}
}

// screenshot writes the whole page as PNG.
func (b *browser) screenshot(path string) {
	b.t.Helper()
	var shot struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &shot)
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(path, png, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	if len(png) < 10_000 {
		b.t.Errorf("a screenshot of %d bytes is an empty page", len(png))
	}
}
