package writeback

// An upload assembles an object from parts.
type upload struct {
	uid uint64
}
type early struct{}

func (q *Queue) cancelUploadLocked(f *File) []record { return nil }
func (q *Queue) endUploadLocked(u *upload) []record  { return nil }
func (q *Queue) uploadsBusyLocked() bool             { return false }
func (q *Queue) uploadLinesLocked() [][]record       { return nil }
func (q *Queue) restoreUploads(m *image)             {}
func (q *Queue) pollWriters()                        {}
func (q *Queue) sweepUploads()                       {}
