package glaciertest

import (
	"net/http"
	"time"
)

// An archive never changes.
type archive struct {
	id, description, tree string
	data                  []byte // what readers get
	truth                 []byte // what was stored, and the hashes are of
	created               time.Time
}

// maxSingle is the most that one request uploads, in bytes.
const maxSingle = 4 << 30

func (s *Server) uploadArchive(q *request) (answer, *problem) {
	desc := q.Header.Get("X-Amz-Archive-Description")
	switch {
	case !printable(desc):
		return answer{}, invalid("Invalid archive description")
	case len(q.body) == 0:
		return answer{}, invalid("Invalid Content-Length: 0")
	case len(q.body) > maxSingle:
		return answer{}, &problem{http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException", "4 GB at most"}
	}
	tree, err := q.checkBody()
	if err != nil {
		return answer{}, err
	}
	return q.vault.add(desc, tree, q.body, q.now), nil
}

// add stores an archive and answers as the service does.
func (v *vault) add(desc, tree string, data []byte, now time.Time) answer {
	a := &archive{id: newID(138), description: desc, tree: tree, data: data, truth: data, created: now}
	v.archives[a.id] = a
	v.written = now
	return answer{status: http.StatusCreated, header: map[string]string{
		"Location": "/012345678901/vaults/" + v.name + "/archives/" + a.id, "X-Amz-Archive-Id": a.id,
		"X-Amz-Sha256-Tree-Hash": tree,
	}}
}

// deleteArchive is idempotent.
func (s *Server) deleteArchive(q *request) (answer, *problem) {
	if len(q.id) != 138 {
		return answer{}, invalid("Invalid archive id: " + q.id)
	}
	if q.vault.archives[q.id] != nil {
		delete(q.vault.archives, q.id)
		q.vault.written = q.now
	}
	return answer{status: http.StatusNoContent}, nil
}

// Add stores an archive as another client may have, with any description, and returns its id.
// The vault must exist.
func (s *Server) Add(vault, description string, data []byte) (id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.o.Now().UTC()
	s.tickLocked(now)
	a := s.vaults[vault].add(description, TreeHash(data), data, now)
	return a.header["X-Amz-Archive-Id"]
}

// Spoil changes one byte of an archive behind the service's back.
func (s *Server) Spoil(vault, id string, at int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.vaults[vault].archives[id]
	a.data = append([]byte{}, a.data...)
	a.data[at] ^= 1
}

// Archives returns the descriptions of a vault's archives by id, as they are now.
func (s *Server) Archives(vault string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]string{}
	if v := s.vaults[vault]; v != nil {
		for id, a := range v.archives {
			all[id] = a.description
		}
	}
	return all
}
