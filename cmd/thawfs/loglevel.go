package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
)

func logCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "log COMMAND",
		Short:   "Show and change what a mount logs",
		Long:    `Shows where a mount logs to and how much, and changes how much while it serves.`,
		Example: "  thawfs log level debug /mnt/photos",
		Args:    noSuchCommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(logLevelCommand())
	return cmd
}

func logLevelCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "level [LEVEL] [PATH]",
		Short: "Show or set how much a mount logs",
		Long: `LEVEL is debug, info, warn or error; debug logs every request of programs too.
It holds until the mount ends. Without it the present one is printed. PATH is in
a mount; without one it is that of the working directory, or the only one.`,
		Example: `  thawfs log level
  thawfs log level debug /mnt/photos`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			now := newOptions().logLevel
			set := ""
			if len(args) > 0 {
				if err := now.Set(args[0]); err == nil {
					set, args = now.value, args[1:]
				} else if len(args) == 2 {
					return usage(err.Error(), "See: thawfs log level --help")
				}
			}
			l, err := logLevel(cmd.Context(), first(args), set)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(l)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), l.Level)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON, with the file")
	return cmd
}

// logState is what /v1/log/level tells.
type logState struct {
	Level string `json:"level"`
	Log   string `json:"log,omitempty"` // the file
}

// logLevel asks the mount of path for its level, or sets it.
func logLevel(ctx context.Context, path, level string) (l logState, err error) {
	m, err := oneMount(ctx, path)
	if err != nil {
		return l, err
	}
	method := http.MethodGet
	if level != "" {
		method = http.MethodPost
	}
	return l, m.c.call(ctx, method, "/v1/log/level?"+url.Values{"level": {level}}.Encode(), &l)
}

// logs adds what `thawfs log` asks for.
func (d *daemon) logs(mux *http.ServeMux) {
	state := func() logState {
		return logState{Level: levelName(d.level.Level()), Log: d.about.Log}
	}
	mux.HandleFunc("GET /v1/log/level", func(w http.ResponseWriter, _ *http.Request) { answer(w, state(), nil) })
	mux.HandleFunc("POST /v1/log/level", func(w http.ResponseWriter, r *http.Request) {
		c := newOptions().logLevel
		if err := c.Set(r.FormValue("level")); err != nil {
			answer(w, nil, usage(err.Error(), ""))
			return
		}
		d.level.Set(levelOf(c))
		d.m.SetDebug(c.value == "debug")
		d.log.Info("log level set", slog.String("level", c.value))
		answer(w, state(), nil)
	})
}

// levelName is a level in the words of --log-level.
func levelName(l slog.Level) string {
	switch {
	case l <= slog.LevelDebug:
		return "debug"
	case l <= slog.LevelInfo:
		return "info"
	case l <= slog.LevelWarn:
		return "warn"
	}
	return "error"
}
