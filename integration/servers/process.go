package servers

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"
)

const (
	startLimit = 2 * time.Minute // until a server serves, on a machine that is busy
	pollEvery  = 50 * time.Millisecond
)

// Server is a running server.
type Server struct {
	S3
	kind kind
	exe  string
	port int
	data *dataDir

	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
	end  error         // how; set before done is closed
}

// Start starts a server for one test alone, which may kill and restart it; it ends with the
// test. name is minio, versitygw or moto.
func Start(t testing.TB, name string) *Server {
	t.Helper()
	s, err := start(name)
	if err != nil {
		t.Fatalf("servers: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("servers: stop %s: %v", name, err)
		}
	})
	return s
}

// Run starts a server for a program that is no test, which ends it by Stop. Its data are in a
// directory below dir.
func Run(name, dir string) (*Server, error) {
	return startOn(name, func() (*dataDir, error) { return newDataDirIn(dir, name) })
}

// start builds what is missing and starts a server of the named kind.
func start(name string) (*Server, error) {
	return startOn(name, func() (*dataDir, error) { return newDataDir(name) })
}

func startOn(name string, newData func() (*dataDir, error)) (*Server, error) {
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
	if i < 0 {
		return nil, fmt.Errorf("no server named %q", name)
	}
	exe, err := executable(context.Background(), cmp.Or(kinds[i].program, name), os.Stderr)
	if err != nil {
		return nil, err
	}
	data, err := newData()
	if err != nil {
		return nil, err
	}
	s := &Server{kind: kinds[i], exe: exe, data: data}
	// Another process may take the port between our look and the server's bind.
	for range 3 {
		if s.port, err = freePort(); err != nil {
			break
		}
		s.S3 = S3{Name: name, Endpoint: "http://" + address(s.port), AccessKey: accessKey, SecretKey: secretKey, Region: region}
		if err = s.Restart(); err == nil {
			return s, nil
		}
	}
	return nil, errors.Join(err, data.remove())
}

// Restart starts a killed server again, on the same port and data (moto keeps its data in
// memory and comes back empty). It returns when the server serves.
func (s *Server) Restart() error {
	for _, dir := range s.kind.dirs {
		if err := os.MkdirAll(filepath.Join(s.data.path, dir), 0o755); err != nil {
			return err
		}
	}
	for name, text := range s.kind.files {
		if err := os.WriteFile(filepath.Join(s.data.path, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	log, err := os.OpenFile(s.logPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the server has its own descriptor
	if err := s.spawn(log); err != nil {
		return fmt.Errorf("start %s: %w", s.Name, err)
	}
	if err := s.await(); err != nil {
		return errors.Join(err, s.Kill())
	}
	return nil
}

// spawn starts the process. Pdeathsig acts when the thread that forked ends, so that thread is
// kept until the process is gone.
func (s *Server) spawn(log io.Writer) error {
	argv := []string{s.exe}
	if s.kind.command != nil {
		argv = s.kind.command(s.exe, s.port, s.data.path)
	} else {
		argv = append(argv, s.kind.args(s.port, s.data.path)...)
	}
	s.cmd = exec.Command(argv[0], argv[1:]...)
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.data.path, log, log
	s.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.data.path, "TMPDIR=" + s.data.path}, s.kind.env...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	s.done = make(chan struct{})
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			s.end = s.cmd.Wait()
		}
		close(s.done)
	}()
	return <-started
}

// await polls the server until it serves.
func (s *Server) await() error {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for limit := time.Now().Add(startLimit); time.Now().Before(limit); {
		if resp, err := client.Get(s.Endpoint + s.kind.ready); err == nil {
			_ = resp.Body.Close() // only the status counts
			if resp.StatusCode == http.StatusOK {
				return s.Err()
			}
		}
		select {
		case <-s.done:
			return s.Err()
		case <-tick.C:
		}
	}
	return fmt.Errorf("%s does not serve after %s; the end of its output:\n%s", s.Name, startLimit, s.output())
}

// Err says how the server ended; nil while it runs.
func (s *Server) Err() error {
	select {
	case <-s.done:
		return fmt.Errorf("%s ended by itself or by somebody else (%v); the end of its output:\n%s", s.Name, s.end, s.output())
	default:
		return nil
	}
}

// Kill ends the process at once, as a crash would, and waits for its end. The data stays.
func (s *Server) Kill() error {
	select {
	case <-s.done:
		return nil // its process id may be somebody else's by now
	default:
	}
	if err := syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill %s: %w", s.Name, err)
	}
	<-s.done
	return nil
}

// Stop ends the server and removes its data.
func (s *Server) Stop() error {
	return errors.Join(s.Kill(), s.data.remove())
}

func (s *Server) logPath() string { return filepath.Join(s.data.path, "output") }

// output is the end of what the server printed.
func (s *Server) output() []byte {
	data, err := os.ReadFile(s.logPath())
	if err != nil {
		return []byte(err.Error())
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-tailLines):], []byte("\n"))
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close() // the server is to have it
	return l.Addr().(*net.TCPAddr).Port, nil
}
