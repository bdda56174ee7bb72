package glaciertest

import "net/http"

type retrievalPolicy struct {
	Policy struct {
		Rules []struct {
			Strategy     string
			BytesPerHour int64 `json:",omitempty"`
		}
	}
}

func (s *Server) getPolicy(*request) (answer, *problem) {
	rule := map[string]any{"Strategy": s.policy}
	if s.policy == "BytesPerHour" {
		rule["BytesPerHour"] = s.perHour
	}
	return answer{status: http.StatusOK, json: map[string]any{"Policy": map[string]any{"Rules": []any{rule}}}}, nil
}

func (s *Server) setPolicy(q *request) (answer, *problem) {
	var in retrievalPolicy
	if err := q.decode(&in); err != nil {
		return answer{}, err
	}
	if len(in.Policy.Rules) != 1 {
		return answer{}, invalid("exactly one rule")
	}
	r := in.Policy.Rules[0]
	switch r.Strategy {
	case "None", "FreeTier":
	case "BytesPerHour":
		if r.BytesPerHour <= 0 {
			return answer{}, invalid("Invalid BytesPerHour")
		}
	default:
		return answer{}, invalid("Invalid strategy: " + r.Strategy)
	}
	s.policy, s.perHour = r.Strategy, r.BytesPerHour
	return answer{status: http.StatusNoContent}, nil
}

// LimitRetrievals sets the data retrieval policy to so many bytes an hour; 0 lifts it.
func (s *Server) LimitRetrievals(bytesPerHour int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policy, s.perHour = "BytesPerHour", bytesPerHour
	if bytesPerHour == 0 {
		s.policy = "None"
	}
}

// withinPolicy reports whether a Standard retrieval of n more bytes is allowed: what runs is
// spread over the four hours that it takes. The free tier is 10 GB a month, pro rata.
func (s *Server) withinPolicy(q *request, n int64) bool {
	limit := s.perHour
	switch s.policy {
	case "None":
		return true
	case "FreeTier":
		limit = 10 << 30 / (30 * 24)
	}
	for _, v := range s.vaults {
		for _, j := range v.jobs {
			if !j.inventory && j.tier == "Standard" && j.status == inProgress {
				n += j.to - j.from
			}
		}
	}
	return n <= 4*limit
}
