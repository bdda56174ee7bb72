package glaciertest

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A vault holds archives. All of it is guarded by Server.mu.
type vault struct {
	name     string
	created  time.Time
	archives map[string]*archive
	uploads  map[string]*upload
	jobs     map[string]*job
	order    []string // of jobs, the newest last
	tags     map[string]string
	topic    string
	events   []string

	inventory     []*archive // as of inventoried, in the order of their creation
	inventoried   time.Time  // zero before the first
	nextInventory time.Time
	written       time.Time // the last upload or delete
}

func (v *vault) describe() map[string]any {
	d := map[string]any{
		"CreationDate": stamp(v.created), "VaultARN": arn(v.name), "VaultName": v.name,
		"LastInventoryDate": nil, "NumberOfArchives": 0, "SizeInBytes": 0,
	}
	if !v.inventoried.IsZero() {
		var size int64
		for _, a := range v.inventory {
			size += int64(len(a.data)) + 32<<10 // each is billed with 32 KiB for its index
		}
		d["LastInventoryDate"], d["NumberOfArchives"], d["SizeInBytes"] = stamp(v.inventoried), len(v.inventory), size
	}
	return d
}

// takeInventories takes the inventories that were due since somebody looked: nothing has
// changed in between, since changes look first.
func (v *vault) takeInventories(now time.Time, every time.Duration) {
	for ; !now.Before(v.nextInventory); v.nextInventory = v.nextInventory.Add(every) {
		if v.inventoried.IsZero() || v.written.After(v.inventoried) {
			v.inventoried = v.nextInventory
			v.inventory = slices.SortedFunc(maps.Values(v.archives), func(a, b *archive) int {
				return a.created.Compare(b.created)
			})
		}
		if gap := now.Sub(v.nextInventory) / every; gap > 2 { // a clock that jumped years
			v.nextInventory = v.nextInventory.Add((gap - 1) * every)
		}
	}
}

// forget drops what is too old: jobs that ended a day ago, uploads without parts for a day.
func (v *vault) forget(now time.Time) {
	maps.DeleteFunc(v.uploads, func(_ string, u *upload) bool { return now.Sub(u.touched) > lifetime })
	v.order = slices.DeleteFunc(v.order, func(id string) bool {
		j := v.jobs[id]
		old := j.status != inProgress && now.Sub(j.completed) > lifetime
		if old {
			delete(v.jobs, id)
		}
		return old
	})
}

func vaultNameValid(name string) bool {
	return len(name) >= 1 && len(name) <= 255 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == ""
}

func (s *Server) createVault(q *request) (answer, *problem) {
	if !vaultNameValid(q.vaultName) {
		return answer{}, invalid("Invalid vault name: " + q.vaultName)
	}
	if s.vaults[q.vaultName] == nil {
		if len(s.vaults) >= 1000 {
			return answer{}, bad("LimitExceededException", "Exceeded the vault limit of 1000")
		}
		s.vaults[q.vaultName] = &vault{
			name: q.vaultName, created: q.now, archives: map[string]*archive{}, uploads: map[string]*upload{},
			jobs: map[string]*job{}, tags: map[string]string{}, nextInventory: q.now.Add(s.o.InventoryEvery),
		}
	}
	return answer{status: http.StatusCreated, header: map[string]string{"Location": "/012345678901/vaults/" + q.vaultName}}, nil
}

func (s *Server) describeVault(q *request) (answer, *problem) {
	return answer{status: http.StatusOK, json: q.vault.describe()}, nil
}

func (s *Server) listVaults(q *request) (answer, *problem) {
	names := slices.Sorted(maps.Keys(s.vaults))
	from, to, more, err := q.page(len(names), 10, func(marker string) int {
		i, found := slices.BinarySearch(names, strings.TrimPrefix(marker, arn("")))
		if !found {
			return -1
		}
		return i
	})
	if err != nil {
		return answer{}, err
	}
	list := []any{}
	for _, name := range names[from:to] {
		list = append(list, s.vaults[name].describe())
	}
	out := map[string]any{"VaultList": list, "Marker": nil}
	if more {
		out["Marker"] = arn(names[to])
	}
	return answer{status: http.StatusOK, json: out}, nil
}

// deleteVault is idempotent, and only for a vault that the last inventory shows empty and
// nobody wrote to since.
func (s *Server) deleteVault(q *request) (answer, *problem) {
	v := q.vault
	if v != nil {
		if len(v.inventory) > 0 || v.written.After(v.inventoried) {
			return answer{}, invalid("Vault not empty or recently written to: " + arn(v.name))
		}
		delete(s.vaults, v.name)
	}
	return answer{status: http.StatusNoContent}, nil
}

func (s *Server) listTags(q *request) (answer, *problem) {
	return answer{status: http.StatusOK, json: map[string]any{"Tags": q.vault.tags}}, nil
}

func (s *Server) addTags(q *request) (answer, *problem) {
	var in struct{ Tags map[string]string }
	if err := q.decode(&in); err != nil {
		return answer{}, err
	}
	all := maps.Clone(q.vault.tags)
	for k, v := range in.Tags {
		if k == "" || len(k) > 128 || len(v) > 256 {
			return answer{}, invalid("Invalid tag: " + k)
		}
		all[k] = v
	}
	if len(all) > 50 {
		return answer{}, bad("LimitExceededException", "a vault has 50 tags at most")
	}
	q.vault.tags = all
	return answer{status: http.StatusNoContent}, nil
}

func (s *Server) removeTags(q *request) (answer, *problem) {
	var in struct{ TagKeys []string }
	if err := q.decode(&in); err != nil {
		return answer{}, err
	}
	for _, k := range in.TagKeys {
		delete(q.vault.tags, k)
	}
	return answer{status: http.StatusNoContent}, nil
}

var knownEvents = []string{"ArchiveRetrievalCompleted", "InventoryRetrievalCompleted"}

func (s *Server) setNotifications(q *request) (answer, *problem) {
	var in struct {
		SNSTopic string
		Events   []string
	}
	if err := q.decode(&in); err != nil {
		return answer{}, err
	}
	if !strings.HasPrefix(in.SNSTopic, "arn:aws:sns:") {
		return answer{}, invalid("Invalid SNSTopic: " + in.SNSTopic)
	}
	for _, e := range in.Events {
		if !slices.Contains(knownEvents, e) {
			return answer{}, invalid("Invalid event: " + e)
		}
	}
	if len(in.Events) == 0 {
		return answer{}, bad("MissingParameterValueException", "Required parameter missing: Events")
	}
	q.vault.topic, q.vault.events = in.SNSTopic, in.Events
	return answer{status: http.StatusNoContent}, nil
}

func (s *Server) getNotifications(q *request) (answer, *problem) {
	if q.vault.topic == "" {
		return answer{}, absent("No notification configuration is set for vault: " + q.vaultName)
	}
	return answer{status: http.StatusOK, json: map[string]any{"SNSTopic": q.vault.topic, "Events": q.vault.events}}, nil
}

func (s *Server) deleteNotifications(q *request) (answer, *problem) {
	q.vault.topic, q.vault.events = "", nil
	return answer{status: http.StatusNoContent}, nil
}

// Make makes a vault, as another client may have.
func (s *Server) Make(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.o.Now().UTC()
	s.tickLocked(now)
	if _, err := s.createVault(&request{vaultName: name, now: now}); err != nil {
		panic("glaciertest: " + err.message)
	}
}
