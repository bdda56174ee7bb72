package writeback

type move struct{}

func (q *Queue) resumeMove(m *move)          {}
func (q *Queue) restoreMoves(m *image)       {}
func (q *Queue) moveLinesLocked() [][]record { return nil }
