package servers

import (
	"path/filepath"
	"strconv"
	"time"
)

// The keys of every test server. They open nothing but what tests put there.
const (
	accessKey = "thawfs-test"
	secretKey = "thawfs-test-secret"
	region    = "us-east-1"
)

// A kind is how one sort of server is run.
type kind struct {
	name    string
	program string // in the cache, if it is not called like the kind
	ready   string // path that answers 200 once the server serves
	// arguments and environment for a server on 127.0.0.1:port with its data below dir
	args func(port int, dir string) []string
	env  []string
	dirs []string // below the data directory, that must exist
	// command, if set, stands for the program and args: the program's path is handed to it
	command func(path string, port int, dir string) []string
	files   map[string]string // below the data directory: what they hold
}

var kinds = []kind{
	{
		name: "minio", ready: "/minio/health/ready", dirs: []string{"data", "certs"},
		args: func(port int, dir string) []string {
			return []string{"server", "--quiet", "--address", address(port), "--certs-dir", filepath.Join(dir, "certs"), filepath.Join(dir, "data")}
		},
		env: []string{"MINIO_ROOT_USER=" + accessKey, "MINIO_ROOT_PASSWORD=" + secretKey, "MINIO_BROWSER=off", "MINIO_UPDATE=off"},
	},
	{
		// It changes its directory to the data: all paths must be absolute. Without
		// --keep-alive it closes the connection after each answer.
		name: "versitygw", ready: "/health", dirs: []string{"data", "versions"},
		args: func(port int, dir string) []string {
			return []string{
				"--port", address(port), "--health", "/health", "--quiet", "--keep-alive",
				"posix", "--versioning-dir", filepath.Join(dir, "versions"), filepath.Join(dir, "data"),
			}
		},
		env: []string{"ROOT_ACCESS_KEY=" + accessKey, "ROOT_SECRET_KEY=" + secretKey},
	},
	{
		name: "moto", ready: "/moto-api/",
		args: func(port int, dir string) []string {
			return []string{"-H", "127.0.0.1", "-p", strconv.Itoa(port)}
		},
		// Bodies are spooled to files below TMPDIR, which is set to the data directory.
		env: []string{"MOTO_S3_DEFAULT_MAX_KEYS=1000"},
	},
	swiftKind("swift", 0),
	swiftKind("keystone", time.Hour),
	swiftKind("keystone-brief", BriefToken),
}

func address(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }
