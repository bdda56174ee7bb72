package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/local"
)

func demoCommand(args []string) *cobra.Command {
	return &cobra.Command{
		Use:   "demo [DIR]",
		Short: "Mount a store to play with",
		Long: `Makes an object store in DIR/store, with a bucket of ordinary files and one of
archived files, mounts it on DIR/mnt and prints what to try. Without DIR it uses
./thawfs-demo. Nothing leaves this machine. Called again it goes on with what is
there.`,
		Example: `  thawfs demo
  thawfs demo /tmp/play`,
		Args:                  cobra.MaximumNArgs(1),
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, positional []string) error {
			dir := "thawfs-demo"
			if len(positional) > 0 {
				dir = positional[0]
			}
			return demo(cmd.Context(), dir, self(args), cmd.OutOrStdout())
		},
	}
}

// demo makes and mounts the store below dir; thawfs is how the user calls this program.
func demo(ctx context.Context, dir, thawfs string, stdout io.Writer) error {
	ctx, stop := signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM)
	defer stop()
	abs, err := filepath.Abs(dir)
	if err != nil {
		return wrong("the working directory cannot be found", "Name the directory as an absolute path.").because(err)
	}
	mountpoint, err := mountPath(filepath.Join(abs, "mnt"))
	if err != nil {
		return err
	}
	running, _, err := findDaemon(ctx, mountpoint)
	if err != nil {
		return err
	}
	if on, err := findMount(mountpoint); err != nil || running == nil || on == nil {
		if err := demoStart(ctx, abs, mountpoint); err != nil {
			return err
		}
	}
	fmt.Fprint(stdout, demoText(filepath.Clean(dir), thawfs))
	return nil
}

// demoStart fills the store and mounts it.
func demoStart(ctx context.Context, dir, mountpoint string) error {
	store := filepath.Join(dir, "store")
	if err := demoFill(ctx, store); err != nil {
		return wrong(fmt.Sprintf("the demo cannot be set up in %s: %s", dir, words(err)), "Name a directory of your own: thawfs demo DIR").because(err)
	}
	if err := os.Mkdir(mountpoint, 0o755); err != nil && !os.IsExist(err) && !dead(mountpoint) {
		return wrong(fmt.Sprintf("the demo cannot be set up in %s: %v", dir, reason(err)), "Name a directory of your own: thawfs demo DIR").because(err)
	}
	source := "local:" + store
	if strings.Contains(store, "#") {
		source += "#"
	}
	_, err := spawn(ctx, []string{"thawfs", "mount", "--cache-dir", filepath.Join(dir, "cache"), source, mountpoint})
	return err
}

// demoFill makes the buckets that are not there.
func demoFill(ctx context.Context, dir string) error {
	service, err := local.New(dir, local.Options{})
	if err != nil {
		return err
	}
	has := map[string]bool{}
	for b, err := range service.Buckets(ctx) {
		if err != nil {
			return err
		}
		has[b.Name] = true
	}
	for _, b := range demoBuckets() {
		if has[b.name] {
			continue
		}
		if err := service.CreateBucket(ctx, b.name); err != nil {
			return err
		}
		if err := service.SetBucketClass(b.name, b.class); err != nil {
			return err
		}
		s, err := service.Open(ctx, b.name)
		if err != nil {
			return err
		}
		for key, content := range b.files {
			body := strings.NewReader(content)
			if _, err := s.Put(ctx, key, io.NewSectionReader(body, 0, body.Size()), backend.PutOptions{}); err != nil {
				return err
			}
		}
	}
	return nil
}

// demoText is what to try. Each command works as it stands, also twice.
func demoText(dir, thawfs string) string {
	in := func(elem ...string) string { return shellQuote(filepath.Join(append([]string{dir}, elem...)...)) }
	mnt := func(elem ...string) string { return in(append([]string{"mnt"}, elem...)...) }
	return fmt.Sprintf(`An object store is mounted on %[1]s. Buckets are directories, objects are files. Try:

  echo hello > %[2]s && mkdir -p %[3]s && cp -r %[4]s %[3]s
  %[7]s ls -lR %[1]s
  cat %[5]s
  %[7]s status %[1]s
  %[7]s restore --wait %[5]s && cat %[5]s

What stands in the bucket archive is archived, as in S3 Glacier: reading it fails at first
("Resource temporarily unavailable"), but fetches it. Here that takes 15 seconds instead of
hours, and then it can be read. The store is the directory %[6]s: nothing leaves this machine.

End it with:              %[7]s umount %[1]s
And remove it all with:   rm -r %[8]s
`, mnt(), mnt("hot", "hello.txt"), mnt("backup"), mnt("hot", "pictures"),
		mnt("archive", "2019", "letter.txt"), in("store"), thawfs, in())
}
