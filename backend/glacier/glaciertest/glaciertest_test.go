package glaciertest_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend/glacier/glaciertest"
)

// A caller speaks to the double without an SDK, so that the double is held against the API as
// it is written, and not as a client of it happens to behave.
type caller struct {
	t     *testing.T
	url   string
	now   time.Time
	srv   *glaciertest.Server
	heard []string // topics and bodies of notifications
}

func newCaller(t *testing.T) *caller {
	c := &caller{t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	c.srv = glaciertest.New(glaciertest.Options{
		Now:       func() time.Time { return c.now },
		Published: func(topic string, body []byte) { c.heard = append(c.heard, topic+" "+string(body)) },
	})
	s := httptest.NewServer(c.srv)
	t.Cleanup(s.Close)
	c.url = s.URL + "/-/"
	return c
}

type reply struct {
	status int
	header http.Header
	body   string
}

// field is a value of a body in JSON.
func (r reply) field(name string) any {
	var m map[string]any
	_ = json.Unmarshal([]byte(r.body), &m) // no JSON has no fields
	return m[name]
}

// call sends a request; headers are names and values in turn.
func (c *caller) call(method, path, body string, headers ...string) reply {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("X-Amz-Glacier-Version", "2012-06-01")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x")
	sum := sha256.Sum256([]byte(body))
	req.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
	req.Header.Set("X-Amz-Sha256-Tree-Hash", glaciertest.TreeHash([]byte(body)))
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close() // only read
	if err != nil {
		c.t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(text)}
}

// wants fails unless a reply has the status and, of an error, the code.
func (c *caller) wants(what string, r reply, status int, code string) reply {
	c.t.Helper()
	if got, _ := r.field("code").(string); r.status != status || code != "" && got != code {
		c.t.Errorf("%s = %d %s, want %d %s", what, r.status, r.body, status, code)
	}
	return r
}

const (
	invalid = "InvalidParameterValueException"
	absent  = "ResourceNotFoundException"
)

func (c *caller) upload(data, about string) string {
	c.t.Helper()
	r := c.wants("upload", c.call("POST", "vaults/v/archives", data, "X-Amz-Archive-Description", about), 201, "")
	return r.header.Get("X-Amz-Archive-Id")
}

func (c *caller) job(parameters string) string {
	c.t.Helper()
	return c.wants("initiate "+parameters, c.call("POST", "vaults/v/jobs", parameters), 202, "").header.Get("X-Amz-Job-Id")
}

func TestVaults(t *testing.T) {
	c := newCaller(t)
	c.wants("an absent vault", c.call("GET", "vaults/v", ""), 404, absent)
	for range 2 {
		c.wants("create", c.call("PUT", "vaults/v", ""), 201, "")
		c.upload("kept", "")
	}
	if n := len(c.srv.Archives("v")); n != 2 {
		t.Errorf("after a second create the vault holds %d archives, want 2", n)
	}
	c.wants("a bad name", c.call("PUT", "vaults/a%20b", ""), 400, invalid)
	for i := range 22 {
		c.wants("create", c.call("PUT", fmt.Sprintf("vaults/w%02d", i), ""), 201, "")
	}
	var seen int
	for marker := ""; ; {
		r := c.wants("list", c.call("GET", "vaults?marker="+marker, ""), 200, "")
		page := len(r.field("VaultList").([]any))
		if seen += page; page > 10 {
			t.Errorf("a page has %d vaults", page)
		}
		if marker, _ = r.field("Marker").(string); marker == "" {
			break
		}
	}
	if seen != 23 {
		t.Errorf("the pages have %d vaults, want 23", seen)
	}
	c.wants("a page of 11", c.call("GET", "vaults?limit=11", ""), 400, invalid)
	c.wants("without a version", c.call("GET", "vaults/v", "", "X-Amz-Glacier-Version", ""), 400, "MissingParameterValueException")
	c.wants("a full vault's delete", c.call("DELETE", "vaults/v", ""), 400, invalid)
	c.wants("an absent vault's delete", c.call("DELETE", "vaults/absent", ""), 204, "")
	for id := range c.srv.Archives("v") {
		for range 2 {
			c.wants("delete", c.call("DELETE", "vaults/v/archives/"+id, ""), 204, "")
		}
	}
	c.wants("an emptied vault's delete", c.call("DELETE", "vaults/v", ""), 400, invalid)
	c.now = c.now.Add(25 * time.Hour)
	c.wants("the same a day later", c.call("DELETE", "vaults/v", ""), 204, "")
}

func TestUploads(t *testing.T) {
	c := newCaller(t)
	c.call("PUT", "vaults/v", "")
	one, two := c.upload("same", "x"), c.upload("same", "x")
	if len(one) != 138 || one == two {
		t.Errorf("ids %q and %q, want two of 138 characters", one, two)
	}
	c.wants("an empty archive", c.call("POST", "vaults/v/archives", ""), 400, invalid)
	c.wants("a wrong tree hash", c.call("POST", "vaults/v/archives", "x", "X-Amz-Sha256-Tree-Hash", glaciertest.TreeHash([]byte("y"))), 400, invalid)
	c.wants("a wrong hash", c.call("POST", "vaults/v/archives", "x", "X-Amz-Content-Sha256", strings.Repeat("0", 64)), 400, invalid)
	c.wants("a long description", c.call("POST", "vaults/v/archives", "x", "X-Amz-Archive-Description", strings.Repeat("d", 1025)), 400, invalid)

	for _, size := range []string{"", "1", "1048577", "3145728", "8589934592"} {
		c.wants("parts of "+size, c.call("POST", "vaults/v/multipart-uploads", "", "X-Amz-Part-Size", size), 400, invalid)
	}
	const mib = 1 << 20
	begin := func() string {
		r := c.wants("begin", c.call("POST", "vaults/v/multipart-uploads", "", "X-Amz-Part-Size", "1048576"), 201, "")
		return "vaults/v/multipart-uploads/" + r.header.Get("X-Amz-Multipart-Upload-Id")
	}
	data := strings.Repeat("0123456789abcdef", mib/16) + "tail"
	up := begin()
	c.wants("a part that is not aligned", c.call("PUT", up, data[:10], "Content-Range", "bytes 5-14/*"), 400, invalid)
	c.wants("a part of another length", c.call("PUT", up, data[:10], "Content-Range", "bytes 0-20/*"), 400, invalid)
	c.wants("the last part", c.call("PUT", up, "tail", "Content-Range", "bytes 1048576-1048579/*"), 204, "")
	c.wants("a part behind the last", c.call("PUT", up, "more", "Content-Range", "bytes 2097152-2097155/*"), 400, invalid)
	complete := func(size string) reply {
		return c.call("POST", up, "", "X-Amz-Archive-Size", size, "X-Amz-Sha256-Tree-Hash", glaciertest.TreeHash([]byte(data)))
	}
	c.wants("complete with a hole", complete("1048580"), 400, invalid)
	c.wants("the first part", c.call("PUT", up, data[:mib], "Content-Range", "bytes 0-1048575/*"), 204, "")
	c.wants("complete with a wrong size", complete("1048581"), 400, invalid)
	if parts := c.wants("list parts", c.call("GET", up, ""), 200, "").field("Parts").([]any); len(parts) != 2 {
		t.Errorf("the upload has %d parts, want 2", len(parts))
	}
	c.wants("complete", complete("1048580"), 201, "")
	c.wants("complete again", complete("1048580"), 404, absent)
	up = begin()
	c.now = c.now.Add(25 * time.Hour)
	c.wants("a part a day later", c.call("PUT", up, "tail", "Content-Range", "bytes 0-3/*"), 404, absent)
}

func TestJobs(t *testing.T) {
	c := newCaller(t)
	c.call("PUT", "vaults/v", "")
	c.call("PUT", "vaults/v/notification-configuration", `{"SNSTopic":"arn:aws:sns:x:1:t","Events":["ArchiveRetrievalCompleted"]}`)
	c.wants("an unknown event", c.call("PUT", "vaults/v/notification-configuration", `{"SNSTopic":"arn:aws:sns:x:1:t","Events":["x"]}`), 400, invalid)
	const mib = 1 << 20
	data := bytes.Repeat([]byte("0123456789abcdef"), 3*mib/16+1)
	id := c.upload(string(data), "about")
	get := `{"Type":"archive-retrieval","ArchiveId":"` + id + `"`
	c.wants("an inventory before there is one", c.call("POST", "vaults/v/jobs", `{"Type":"inventory-retrieval"}`), 404, absent)
	c.wants("a bad tier", c.call("POST", "vaults/v/jobs", get+`,"Tier":"Fast"}`), 400, invalid)
	c.wants("an unaligned range", c.call("POST", "vaults/v/jobs", get+`,"RetrievalByteRange":"5-1048575"}`), 400, invalid)
	c.wants("an unknown archive", c.call("POST", "vaults/v/jobs", `{"Type":"archive-retrieval","ArchiveId":"`+strings.Repeat("x", 138)+`"}`), 404, absent)
	c.srv.SetExpedited(false)
	c.wants("no capacity", c.call("POST", "vaults/v/jobs", get+`,"Tier":"Expedited"}`), 503, "InsufficientCapacityException")
	c.srv.LimitRetrievals(10)
	c.wants("beyond the policy", c.call("POST", "vaults/v/jobs", get+`}`), 400, "PolicyEnforcedException")
	bulk := c.job(get + `,"Tier":"Bulk"}`)
	c.srv.LimitRetrievals(0)
	whole, part := c.job(get+`}`), c.job(get+`,"RetrievalByteRange":"1048576-2097151","SNSTopic":"arn:own"}`)
	out := func(job string, headers ...string) reply {
		return c.call("GET", "vaults/v/jobs/"+job+"/output", "", headers...)
	}
	c.wants("output of a running job", out(whole), 400, invalid)
	c.now = c.now.Add(4*time.Hour + time.Minute)
	if r := c.wants("the whole", out(whole), 200, ""); r.body != string(data) || r.header.Get("X-Amz-Sha256-Tree-Hash") != glaciertest.TreeHash(data) {
		t.Errorf("the whole output has %d bytes, hash %s", len(r.body), r.header.Get("X-Amz-Sha256-Tree-Hash"))
	}
	for _, tt := range []struct {
		at     string
		hashed bool
	}{{"0-1048575", true}, {"0-2097151", true}, {"1048576-3145727", false}, {"2097152-3145743", true}, {"5-9", false}} {
		r := c.wants("range "+tt.at, out(whole, "Range", "bytes="+tt.at), 206, "")
		if got := r.header.Get("X-Amz-Sha256-Tree-Hash"); (got != "") != tt.hashed || tt.hashed && got != glaciertest.TreeHash([]byte(r.body)) {
			t.Errorf("range %s comes with the hash %q", tt.at, got)
		}
	}
	c.wants("a range past the end", out(whole, "Range", "bytes=0-99999999"), 400, invalid)
	if r := out(part); r.body != string(data[mib:2*mib]) {
		t.Errorf("the output of a range has %d bytes", len(r.body))
	}
	if len(c.heard) != 3 || !strings.Contains(strings.Join(c.heard, "\n"), "arn:own") {
		t.Errorf("notifications: %q, want two of the vault's topic and one of the job's", c.heard)
	}
	for filter, want := range map[string]int{"": 3, "statuscode=InProgress": 1, "statuscode=Succeeded": 2, "completed=true": 2, "completed=false": 1, "limit=2": 2} {
		if list := c.wants("list", c.call("GET", "vaults/v/jobs?"+filter, ""), 200, "").field("JobList").([]any); len(list) != want {
			t.Errorf("jobs with %q: %d, want %d", filter, len(list), want)
		}
	}
	c.wants("a page of 51", c.call("GET", "vaults/v/jobs?limit=51", ""), 400, invalid)
	c.now = c.now.Add(23 * time.Hour)
	c.wants("output within a day", out(whole), 200, "")
	c.wants("output of Bulk", out(bulk), 200, "")
	c.now = c.now.Add(2 * time.Hour)
	c.wants("output a day later", out(whole), 404, absent)
}

func TestInventories(t *testing.T) {
	c := newCaller(t)
	c.call("PUT", "vaults/v", "")
	first := c.upload("one", "first")
	c.now = c.now.Add(25 * time.Hour)
	second := c.upload("two", "second")
	job := c.job(`{"Type":"inventory-retrieval","Format":"JSON"}`)
	c.now = c.now.Add(5 * time.Hour)
	r := c.wants("the inventory", c.call("GET", "vaults/v/jobs/"+job+"/output", ""), 200, "")
	if !strings.Contains(r.body, first) || strings.Contains(r.body, second) || r.field("InventoryDate") != "2026-01-02T00:00:00Z" {
		t.Errorf("an inventory of yesterday: %s", r.body)
	}
	c.wants("delete", c.call("DELETE", "vaults/v/archives/"+first, ""), 204, "")
	gone := c.job(`{"Type":"archive-retrieval","ArchiveId":"` + first + `"}`)
	c.now = c.now.Add(5 * time.Hour)
	if r := c.wants("describe", c.call("GET", "vaults/v/jobs/"+gone, ""), 200, ""); r.field("StatusCode") != "Failed" {
		t.Errorf("the retrieval of a deleted archive: %s", r.body)
	}
	c.now = c.now.Add(48 * time.Hour)
	if r := c.call("GET", "vaults/v", ""); r.field("NumberOfArchives") != 1.0 || r.field("LastInventoryDate") != "2026-01-03T00:00:00.000Z" {
		t.Errorf("the vault later: %s", r.body)
	}
}
