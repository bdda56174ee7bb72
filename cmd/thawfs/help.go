package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The templates put examples first and every command on one screen.
const helpTemplate = `{{with (or .Long .Short)}}{{. | trimTrailingWhitespaces}}
{{end}}{{if or .Runnable .HasSubCommands}}{{.UsageString}}{{end}}`

const usageTemplate = `
Usage: {{.UseLine}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}

Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableSubCommands}}

More about a command: {{.CommandPath}} COMMAND --help{{end}}
`

// flagProblem is pflag's complaint, in the words of our own values where they have some.
func flagProblem(cmd *cobra.Command, err error) *problem {
	see := "See: " + cmd.CommandPath() + " --help"
	bad, ok := errors.AsType[*pflag.InvalidValueError](err)
	switch {
	case !ok:
		return usage(err.Error(), see)
	case bad.GetFlag().Name == "options":
		return usage(cause(err).Error(), "")
	default:
		return usage(fmt.Sprintf("--%s: %v", bad.GetFlag().Name, cause(err)), see)
	}
}

// exactly wants the arguments that names tell.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		see := "See: " + cmd.CommandPath() + " --help"
		switch {
		case len(args) < len(names):
			return usage(names[len(args)]+" is missing: "+cmd.UseLine(), see)
		case len(args) > len(names):
			return usage(fmt.Sprintf("%q is one argument too many: %s", args[len(names)], cmd.UseLine()), see)
		}
		return nil
	}
}
