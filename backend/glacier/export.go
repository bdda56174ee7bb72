package glacier

import (
	"bufio"
	"encoding/json"
	"io"
	"strings"
	"time"
)

// exported is an archive in an export: fields as in an inventory, so that Import takes it.
type exported struct {
	ArchiveId          string //nolint:revive // the wire's words
	ArchiveDescription string
	CreationDate       string
	Size               int64
	SHA256TreeHash     string `json:",omitempty"`
}

// Export writes what the catalogue shows as an inventory in JSON, with what was uploaded here
// since. The descriptions are in FastGlacier's form, whoever wrote the archives.
func (s *Store) Export(w io.Writer) error {
	return s.fail(s.life, "export inventory", "", s.export(w))
}

func (s *Store) export(to io.Writer) error {
	p, err := s.cat.facts()
	if err != nil {
		return err
	}
	w := bufio.NewWriter(to)
	head, err := json.Marshal(map[string]string{"VaultARN": p.Vault, "InventoryDate": p.Inventory.UTC().Format(time.RFC3339)})
	if err != nil {
		return err
	}
	_, _ = w.Write(head[:len(head)-1]) // Flush tells
	_, _ = w.WriteString(`,"ArchiveList":[`)
	after, first := "", true
	for more := true; more; {
		var page []entry
		if page, more, err = s.cat.page("", after, false, pageSize); err != nil {
			return err
		}
		for _, e := range page {
			after = e.key
			if e.rec.local() {
				continue
			}
			text, err := json.Marshal(exportOf(e.key, e.rec))
			if err != nil {
				return err
			}
			if !first {
				_, _ = w.WriteString(",\n")
			}
			first = false
			_, _ = w.Write(text)
		}
	}
	_, _ = w.WriteString("]}\n")
	return w.Flush()
}

func exportOf(key string, r record) exported {
	x := exported{ArchiveId: r.id, CreationDate: r.created.UTC().Format(time.RFC3339), Size: r.size}
	if r.hashed {
		x.SHA256TreeHash = r.hash.String()
	}
	if rest, ok := strings.CutPrefix(key, versionsDir+"/"); ok {
		key = rest[:strings.LastIndexByte(rest, '/')]
	}
	if r.hollow {
		x.Size = 1
	}
	if strings.HasPrefix(key, unnamedDir+"/") {
		return x
	}
	mtime := r.mtime
	if mtime.IsZero() {
		mtime = r.created
	}
	x.ArchiveDescription, _ = encode(key, mtime, r.hollow) // it may be longer here than the service allows
	if ce, ok := strings.CutPrefix(r.encoding, "fastglacier-ce:"); ok {
		x.ArchiveDescription = strings.TrimSuffix(x.ArchiveDescription, "</m>") + "<ce>" + ce + "</ce></m>"
	}
	return x
}
