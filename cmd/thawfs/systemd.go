package main

import (
	"log/slog"

	systemd "github.com/coreos/go-systemd/v22/daemon"
)

// tellSystemd reports a state to the service manager, if it started this process with Type=notify
// (sd_notify(3)); else it does nothing.
func tellSystemd(log *slog.Logger, state string) {
	if _, err := systemd.SdNotify(false, state); err != nil {
		log.Warn("the service manager was not told", slog.String("state", state), slog.Any("err", err))
	}
}
