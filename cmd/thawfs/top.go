package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

func topCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "top [PATH]",
		Short: "Watch a mount at work",
		Long: `Shows, each second anew, what goes to and comes from the store, what waits for
its upload, what is on its way back from an archive, and how full the cache is.
It ends with q. PATH is in the mount; without one it is that of the working
directory, or the only one. For programs: thawfs status --json.`,
		Example: "  thawfs top /mnt/photos",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := oneMount(cmd.Context(), first(args))
			if err != nil {
				return err
			}
			if !interactive(cmd.OutOrStdout()) {
				return usage("thawfs top needs a terminal", "For programs: thawfs status --json")
			}
			return top(cmd.Context(), m, cmd.OutOrStdout())
		},
	}
}

// top draws what the daemon tells until the user or the mount ends it.
func top(ctx context.Context, m *mountSpots, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	options := []tea.ProgramOption{tea.WithContext(ctx), tea.WithOutput(out)}
	if !isTerminal(os.Stdin) { // no keys then; Ctrl-C still ends it
		options = append(options, tea.WithInput(nil))
	}
	p := tea.NewProgram(topView{}, options...)
	ended := make(chan error, 1)
	go func() {
		err := m.c.watch(ctx, func(s status) { p.Send(s) })
		p.Quit()
		ended <- err
	}()
	_, err := p.Run()
	cancel()
	watched := <-ended
	switch {
	case err != nil && !errors.Is(err, tea.ErrProgramKilled) && !errors.Is(err, tea.ErrInterrupted):
		return err
	case watched != nil && !errors.Is(watched, context.Canceled):
		return watched
	}
	return nil
}

// topView is the screen. It is a tea.Model.
type topView struct {
	s, before     status
	width, height int
	ups, downs    []float64 // bytes a second, the newest last
}

const (
	maxRates    = 60
	gaugeWidth  = 24
	chartBlocks = " ▁▂▃▄▅▆▇█"
)

func (v topView) Init() tea.Cmd { return nil }

// Update takes a status, a key or a size.
func (v topView) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case status:
		return v.take(msg), nil
	case tea.WindowSizeMsg:
		v.width, v.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		switch msg.String() {
		case "q", "esc", "ctrl+c", "ctrl+d":
			return v, tea.Quit
		}
	}
	return v, nil
}

func (v topView) take(s status) topView {
	v.before, v.s = v.s, s
	if secs := s.At.Sub(v.before.At).Seconds(); !v.before.At.IsZero() && secs > 0 {
		sent, received := s.traffic()
		sentBefore, receivedBefore := v.before.traffic()
		v.ups = pushRate(v.ups, float64(sent-sentBefore)/secs)
		v.downs = pushRate(v.downs, float64(received-receivedBefore)/secs)
	}
	return v
}

func pushRate(rates []float64, r float64) []float64 {
	rates = append(rates[:len(rates):len(rates)], max(r, 0))
	return rates[max(0, len(rates)-maxRates):]
}

// View draws the screen.
func (v topView) View() tea.View {
	view := tea.NewView(v.text(time.Now()))
	view.AltScreen = true
	return view
}

func (v topView) text(now time.Time) string {
	s := v.s
	if s.At.IsZero() {
		return "Waiting for the mount ..."
	}
	bold, dim := lipgloss.NewStyle().Bold(true), lipgloss.NewStyle().Faint(true)
	state := lipgloss.NewStyle().Foreground(lipgloss.Color(map[health]string{isUp: "2", isTroubled: "3", isDown: "1"}[s.Store.State])).Render("● " + s.Store.text(now))
	lines := []string{
		bold.Render(s.Source+" on "+s.Mountpoint) + dim.Render("  since "+s.Since.Local().Format("2006-01-02 15:04")),
		state,
		"",
		rateLine("to the store", v.ups),
		rateLine("from the store", v.downs),
		barLine("cache", s.Cache.Bytes, s.Cache.Capacity) + hitText(s.Cache),
		barLine("spool", s.Pending.Staged, s.Pending.Capacity),
	}
	if len(s.Requests) > 0 {
		lines = append(lines, dim.Render("requests        "+requestsText(s.Requests)))
	}
	lines = append(lines, "", bold.Render("Uploads  ")+uploadsText(s.Pending, now))
	for _, u := range s.Pending.Items {
		lines = append(lines, fmt.Sprintf("  %-10s  %9s  %8s  %s", u.state(), size(u.Bytes), age(now.Sub(u.Since)), visible(u.Path)))
		if u.Error != "" {
			lines = append(lines, "              "+u.Error)
		}
	}
	lines = append(lines, "", bold.Render("Restores ")+s.Recalls.String())
	for _, j := range s.Jobs {
		lines = append(lines, fmt.Sprintf("  %-10s  %9s  %-22s  %s", j.Phase, size(j.Size), j.when(now), visible(j.Path)))
	}
	return v.fit(lines, dim.Render("q ends"))
}

func uploadsText(u uploads, now time.Time) string {
	if u.Files == 0 {
		return "none pending"
	}
	return fmt.Sprintf("%s pending, the oldest for %s, %d failed", u.pending, age(now.Sub(u.Oldest)), u.Failed)
}

func hitText(c cacheStatus) string {
	if c.Hits+c.Misses == 0 {
		return ""
	}
	return fmt.Sprintf("   %.0f %% of reads answered from here", 100*c.HitRatio)
}

// fit cuts lines to the screen and puts the last one at its end.
func (v topView) fit(lines []string, last string) string {
	if v.height > 2 && len(lines) > v.height-2 {
		lines = lines[:v.height-2]
	}
	for i, l := range lines {
		if v.width > 0 {
			lines[i] = lipgloss.NewStyle().MaxWidth(v.width).Render(l)
		}
	}
	return strings.Join(append(lines, "", last), "\n")
}

// rateLine is a rate and how it was.
func rateLine(what string, rates []float64) string {
	now, most := 0.0, 1.0
	for _, r := range rates {
		now, most = r, max(most, r)
	}
	blocks := []rune(chartBlocks)
	var chart strings.Builder
	for _, r := range rates[max(0, len(rates)-40):] {
		i := int(r / most * float64(len(blocks)-1))
		if r > 0 && i == 0 {
			i = 1
		}
		chart.WriteRune(blocks[i])
	}
	return fmt.Sprintf("%-15s %10s/s  %s", what, humanize.IBytes(uint64(now)), chart.String())
}

// barLine is how full something is.
func barLine(what string, used, all int64) string {
	full := 0
	if all > 0 {
		full = min(int(used*gaugeWidth/all), gaugeWidth)
	}
	return fmt.Sprintf("%-15s %10s    %s%s %s", what, size(used), strings.Repeat("█", full), strings.Repeat("░", gaugeWidth-full), size(all))
}
