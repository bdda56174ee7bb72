package glaciertest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A request is one call, taken apart.
type request struct {
	*http.Request
	now       time.Time
	body      []byte
	vaultName string
	vault     *vault
	id        string // of an archive, job or upload
}

// An operation is one row of the API.
type operation struct {
	name       string
	do         func(*Server, *request) (answer, *problem)
	makesVault bool // the vault need not exist, and is not looked for
	mayLack    bool // the vault need not exist
}

// operations are the calls by method and path below the account; {v} is a vault, {id} the id
// of something in it.
var operations = map[string]operation{
	"GET vaults":                                   {name: "ListVaults", do: (*Server).listVaults},
	"PUT vaults/{v}":                               {name: "CreateVault", do: (*Server).createVault, makesVault: true},
	"GET vaults/{v}":                               {name: "DescribeVault", do: (*Server).describeVault},
	"DELETE vaults/{v}":                            {name: "DeleteVault", do: (*Server).deleteVault, mayLack: true},
	"GET vaults/{v}/tags":                          {name: "ListTagsForVault", do: (*Server).listTags},
	"POST vaults/{v}/tags?operation=add":           {name: "AddTagsToVault", do: (*Server).addTags},
	"POST vaults/{v}/tags?operation=remove":        {name: "RemoveTagsFromVault", do: (*Server).removeTags},
	"GET vaults/{v}/notification-configuration":    {name: "GetVaultNotifications", do: (*Server).getNotifications},
	"PUT vaults/{v}/notification-configuration":    {name: "SetVaultNotifications", do: (*Server).setNotifications},
	"DELETE vaults/{v}/notification-configuration": {name: "DeleteVaultNotifications", do: (*Server).deleteNotifications},
	"POST vaults/{v}/archives":                     {name: "UploadArchive", do: (*Server).uploadArchive},
	"DELETE vaults/{v}/archives/{id}":              {name: "DeleteArchive", do: (*Server).deleteArchive},
	"GET vaults/{v}/multipart-uploads":             {name: "ListMultipartUploads", do: (*Server).listUploads},
	"POST vaults/{v}/multipart-uploads":            {name: "InitiateMultipartUpload", do: (*Server).initiateUpload},
	"PUT vaults/{v}/multipart-uploads/{id}":        {name: "UploadMultipartPart", do: (*Server).uploadPart},
	"POST vaults/{v}/multipart-uploads/{id}":       {name: "CompleteMultipartUpload", do: (*Server).completeUpload},
	"GET vaults/{v}/multipart-uploads/{id}":        {name: "ListParts", do: (*Server).listParts},
	"DELETE vaults/{v}/multipart-uploads/{id}":     {name: "AbortMultipartUpload", do: (*Server).abortUpload},
	"GET vaults/{v}/jobs":                          {name: "ListJobs", do: (*Server).listJobs},
	"POST vaults/{v}/jobs":                         {name: "InitiateJob", do: (*Server).initiateJob},
	"GET vaults/{v}/jobs/{id}":                     {name: "DescribeJob", do: (*Server).describeJob},
	"GET vaults/{v}/jobs/{id}/output":              {name: "GetJobOutput", do: (*Server).jobOutput},
	"GET policies/data-retrieval":                  {name: "GetDataRetrievalPolicy", do: (*Server).getPolicy},
	"PUT policies/data-retrieval":                  {name: "SetDataRetrievalPolicy", do: (*Server).setPolicy},
}

// route finds the operation that r asks for, and reads its body.
func (s *Server) route(r *http.Request) (*request, operation, *problem) {
	q := &request{Request: r}
	parts := strings.Split(strings.Trim(r.URL.EscapedPath(), "/"), "/")
	for i, p := range parts {
		parts[i], _ = url.PathUnescape(p) // was parsed by net/http
	}
	if len(parts) < 2 {
		return nil, operation{}, absent("no such resource")
	}
	parts = parts[1:] // the account
	pattern := append([]string{}, parts...)
	if parts[0] == "vaults" {
		if len(parts) > 1 {
			q.vaultName, pattern[1] = parts[1], "{v}"
		}
		if len(parts) > 3 {
			q.id, pattern[3] = parts[3], "{id}"
		}
	}
	name := r.Method + " " + strings.Join(pattern, "/")
	if op := r.FormValue("operation"); op != "" {
		name += "?operation=" + op
	}
	op, ok := operations[name]
	if !ok {
		return nil, operation{}, absent("no such resource: " + name)
	}
	var err error
	if q.body, err = io.ReadAll(r.Body); err != nil {
		return nil, op, &problem{http.StatusRequestTimeout, "RequestTimeoutException", err.Error()}
	}
	return q, op, nil
}

// check refuses what the service refuses of any request.
func (q *request) check() *problem {
	switch {
	case q.Header.Get("X-Amz-Glacier-Version") != "2012-06-01":
		return bad("MissingParameterValueException", "Required parameter missing: API version")
	case !strings.HasPrefix(q.Header.Get("Authorization"), "AWS4-HMAC-SHA256 "):
		return &problem{http.StatusForbidden, "MissingAuthenticationTokenException", "Request is missing Authentication Token"}
	}
	return nil
}

// checkBody holds a body against the checksums that came with it, and returns its tree hash.
func (q *request) checkBody() (string, *problem) {
	sum := sha256.Sum256(q.body)
	tree := TreeHash(q.body)
	switch {
	case q.Header.Get("X-Amz-Content-Sha256") != hex.EncodeToString(sum[:]):
		return "", invalid("Invalid Content-SHA256: " + q.Header.Get("X-Amz-Content-Sha256"))
	case q.Header.Get("X-Amz-Sha256-Tree-Hash") == "":
		return "", bad("MissingParameterValueException", "Required parameter missing: x-amz-sha256-tree-hash")
	case q.Header.Get("X-Amz-Sha256-Tree-Hash") != tree:
		return "", invalid("Checksum mismatch: expected " + q.Header.Get("X-Amz-Sha256-Tree-Hash") + " but got " + tree)
	}
	return tree, nil
}

// decode reads a body of JSON; unknown names are refused, so that the tests of a client see
// its mistakes.
func (q *request) decode(into any) *problem {
	d := json.NewDecoder(strings.NewReader(string(q.body)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return &problem{http.StatusBadRequest, "SerializationException", err.Error()}
	}
	return nil
}

// page cuts one page out of n entries: from the marker on, limit of them, at most and usually
// most. next is the marker of the following page, nil at the end.
func (q *request) page(n, most int, at func(marker string) int) (from, to int, next bool, err *problem) {
	limit := most
	if text := q.FormValue("limit"); text != "" {
		var bad error
		if limit, bad = strconv.Atoi(text); bad != nil || limit < 1 || limit > most {
			return 0, 0, false, invalid("Invalid limit: " + text)
		}
	}
	if marker := q.FormValue("marker"); marker != "" {
		if from = at(marker); from < 0 {
			return 0, 0, false, invalid("The marker is not valid: " + marker)
		}
	}
	to = min(from+limit, n)
	return from, to, to < n, nil
}
