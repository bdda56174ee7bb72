package glaciertest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	inProgress = "InProgress"
	succeeded  = "Succeeded"
	failed     = "Failed"
)

// A job is a retrieval of an archive or an inventory.
type job struct {
	id, description, topic, tier string
	inventory                    bool
	archive                      *archive
	from, to                     int64 // bytes of the archive: [from, to)
	created, due, completed      time.Time
	status, why                  string
	output                       []byte
	vault                        string
}

type jobParameters struct {
	Type, ArchiveId, Description, SNSTopic, Tier, Format string //nolint:revive // the wire's words
	RetrievalByteRange                                   string
}

func (s *Server) initiateJob(q *request) (answer, *problem) {
	var in jobParameters
	if err := q.decode(&in); err != nil {
		return answer{}, err
	}
	j := &job{id: newID(92), description: in.Description, topic: in.SNSTopic, created: q.now, status: inProgress, vault: q.vaultName}
	if !printable(in.Description) {
		return answer{}, invalid("Invalid job description")
	}
	var err *problem
	switch in.Type {
	case "inventory-retrieval":
		err = s.newInventory(q, j, in)
	case "archive-retrieval":
		err = s.newRetrieval(q, j, in)
	default:
		err = invalid("Invalid job type: " + in.Type)
	}
	if err != nil {
		return answer{}, err
	}
	q.vault.jobs[j.id] = j
	q.vault.order = append(q.vault.order, j.id)
	return answer{status: http.StatusAccepted, header: map[string]string{
		"X-Amz-Job-Id": j.id, "Location": "/012345678901/vaults/" + q.vaultName + "/jobs/" + j.id,
	}}, nil
}

func (s *Server) newInventory(q *request, j *job, in jobParameters) *problem {
	switch {
	case in.Format != "" && in.Format != "JSON":
		return invalid("this double makes inventories in JSON only")
	case in.ArchiveId != "" || in.RetrievalByteRange != "":
		return invalid("an inventory retrieval has no archive")
	case q.vault.inventoried.IsZero():
		return absent("No inventory is available yet for vault " + arn(q.vaultName))
	}
	j.inventory, j.due = true, q.now.Add(s.o.Inventory)
	return nil
}

func (s *Server) newRetrieval(q *request, j *job, in jobParameters) *problem {
	a := q.vault.archives[in.ArchiveId]
	if a == nil { // deleted: taken until an inventory shows it gone, and fails then
		i := slices.IndexFunc(q.vault.inventory, func(a *archive) bool { return a.id == in.ArchiveId })
		if i < 0 {
			return absent("The archive ID was not found: " + in.ArchiveId)
		}
		a = q.vault.inventory[i]
	}
	j.archive, j.to = a, int64(len(a.data))
	if in.RetrievalByteRange != "" {
		if err := j.cut(in.RetrievalByteRange); err != nil {
			return err
		}
	}
	took := map[string]time.Duration{"": s.o.Standard, "Standard": s.o.Standard, "Expedited": s.o.Expedited, "Bulk": s.o.Bulk}
	takes, known := took[in.Tier]
	switch {
	case !known:
		return invalid("Invalid tier: " + in.Tier)
	case in.Tier == "Expedited" && s.noExpedited:
		return &problem{http.StatusServiceUnavailable, "InsufficientCapacityException", "There is insufficient capacity to process this expedited request"}
	case takes == s.o.Standard && !s.withinPolicy(q, j.to-j.from):
		return bad("PolicyEnforcedException", "InitiateJob request denied by current data retrieval policy.")
	}
	j.tier, j.due = in.Tier, q.now.Add(takes)
	if j.tier == "" {
		j.tier = "Standard"
	}
	return nil
}

// cut narrows a job to a range, which must lie on MiB borders or reach the end.
func (j *job) cut(text string) *problem {
	var from, to int64
	if _, err := fmt.Sscanf(text, "%d-%d", &from, &to); err != nil || from > to || from < 0 || to >= j.to {
		return invalid("Invalid byte range: " + text)
	}
	if from%mib != 0 || (to+1)%mib != 0 && to+1 != j.to {
		return invalid("Byte range must be megabyte aligned: " + text)
	}
	j.from, j.to = from, to+1
	return nil
}

// finishLocked ends a job that is due.
func (s *Server) finishLocked(v *vault, j *job, now time.Time) {
	if j.status != inProgress || now.Before(j.due) {
		return
	}
	j.completed = j.due
	switch {
	case j.inventory:
		j.status, j.output = succeeded, v.inventoryJSON()
	case v.archives[j.archive.id] == nil:
		j.status, j.why = failed, "The archive has been deleted"
	default:
		j.status, j.output = succeeded, j.archive.data[j.from:j.to]
	}
	if j.status == succeeded {
		j.why = "Succeeded"
	}
	s.notify(v, j)
}

// notify sends the description of a finished job to the topics that want it.
func (s *Server) notify(v *vault, j *job) {
	event := knownEvents[0]
	if j.inventory {
		event = knownEvents[1]
	}
	body, err := json.Marshal(j.describe())
	if err != nil {
		panic("glaciertest: " + err.Error()) // plain data only
	}
	if v.topic != "" && slices.Contains(v.events, event) {
		s.messages = append(s.messages, message{v.topic, body})
	}
	if j.topic != "" {
		s.messages = append(s.messages, message{j.topic, body})
	}
}

func (v *vault) inventoryJSON() []byte {
	list := []any{}
	for _, a := range v.inventory {
		list = append(list, map[string]any{
			"ArchiveId": a.id, "ArchiveDescription": a.description, "CreationDate": a.created.Format("2006-01-02T15:04:05Z"),
			"Size": len(a.data), "SHA256TreeHash": a.tree,
		})
	}
	out, err := json.Marshal(map[string]any{
		"VaultARN": arn(v.name), "InventoryDate": v.inventoried.UTC().Format("2006-01-02T15:04:05Z"), "ArchiveList": list,
	})
	if err != nil {
		panic("glaciertest: " + err.Error()) // plain data only
	}
	return out
}

// describe is the job as DescribeJob has it (developer guide, "Describe Job").
func (j *job) describe() map[string]any {
	d := map[string]any{
		"Action": "ArchiveRetrieval", "Completed": j.status != inProgress, "CompletionDate": nil, "CreationDate": stamp(j.created),
		"JobDescription": nil, "JobId": j.id, "StatusCode": j.status, "StatusMessage": nil, "VaultARN": arn(j.vault),
		"SNSTopic": nil, "Tier": nil, "ArchiveId": nil, "ArchiveSizeInBytes": nil, "ArchiveSHA256TreeHash": nil,
		"SHA256TreeHash": nil, "RetrievalByteRange": nil, "InventorySizeInBytes": nil,
	}
	for name, value := range map[string]string{"JobDescription": j.description, "SNSTopic": j.topic, "Tier": j.tier, "StatusMessage": j.why} {
		if value != "" {
			d[name] = value
		}
	}
	if j.status != inProgress {
		d["CompletionDate"] = stamp(j.completed)
	}
	if j.inventory {
		d["Action"] = "InventoryRetrieval"
		d["InventoryRetrievalParameters"] = map[string]any{"Format": "JSON"}
		if j.status == succeeded {
			d["InventorySizeInBytes"] = len(j.output)
		}
		return d
	}
	size := int64(len(j.archive.data))
	d["ArchiveId"], d["ArchiveSizeInBytes"], d["ArchiveSHA256TreeHash"] = j.archive.id, size, j.archive.tree
	d["RetrievalByteRange"] = fmt.Sprintf("%d-%d", j.from, j.to-1)
	if whole := j.to-j.from == size; (!whole || j.status == succeeded) && isNode(j.from, j.to, size) {
		d["SHA256TreeHash"] = TreeHash(j.archive.truth[j.from:j.to])
	}
	return d
}

// listJobs has the newest first, with the filters of the API.
func (s *Server) listJobs(q *request) (answer, *problem) {
	status, completed := q.FormValue("statuscode"), q.FormValue("completed")
	if status != "" && !slices.Contains([]string{inProgress, succeeded, failed}, status) {
		return answer{}, invalid("Invalid status code: " + status)
	}
	if completed != "" && completed != "true" && completed != "false" {
		return answer{}, invalid("Invalid completed: " + completed)
	}
	var ids []string
	for _, id := range slices.Backward(q.vault.order) {
		j := q.vault.jobs[id]
		if (status == "" || j.status == status) && (completed == "" || (j.status != inProgress) == (completed == "true")) {
			ids = append(ids, id)
		}
	}
	from, to, more, err := q.page(len(ids), 50, func(m string) int { return slices.Index(ids, m) })
	if err != nil {
		return answer{}, err
	}
	list := []any{}
	for _, id := range ids[from:to] {
		list = append(list, q.vault.jobs[id].describe())
	}
	out := map[string]any{"JobList": list, "Marker": nil}
	if more {
		out["Marker"] = ids[to]
	}
	return answer{status: http.StatusOK, json: out}, nil
}

func (q *request) job() (*job, *problem) {
	j := q.vault.jobs[q.id]
	if j == nil {
		return nil, absent("The job ID was not found: " + q.id)
	}
	return j, nil
}

func (s *Server) describeJob(q *request) (answer, *problem) {
	j, err := q.job()
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusOK, json: j.describe()}, nil
}

// jobOutput serves the output, or a range of it.
func (s *Server) jobOutput(q *request) (answer, *problem) {
	j, err := q.job()
	switch {
	case err != nil:
		return answer{}, err
	case j.status != succeeded:
		return answer{}, invalid("The job is not currently available for download: " + j.id)
	}
	a := answer{status: http.StatusOK, body: j.output, typ: "application/octet-stream", header: map[string]string{"Accept-Ranges": "bytes"}}
	from, to := int64(0), int64(len(j.output))
	if text := q.Header.Get("Range"); text != "" {
		last := int64(-1)
		if n, _ := fmt.Sscanf(text, "bytes=%d-%d", &from, &last); n != 2 || from > last || last >= to || strings.Contains(text, ",") {
			return answer{}, invalid("Invalid range: " + text)
		}
		to = last + 1
		a.status, a.body = http.StatusPartialContent, j.output[from:to]
		a.header["Content-Range"] = fmt.Sprintf("bytes %d-%d/%d", from, last, len(j.output))
	}
	if j.inventory {
		a.typ = "application/json"
		return a, nil
	}
	size := int64(len(j.archive.data))
	if j.archive.description != "" {
		a.header["X-Amz-Archive-Description"] = j.archive.description
	}
	if isNode(j.from, j.to, size) && isNode(j.from+from, j.from+to, size) {
		a.header["X-Amz-Sha256-Tree-Hash"] = TreeHash(j.archive.truth[j.from+from : j.from+to])
	}
	return a, nil
}
