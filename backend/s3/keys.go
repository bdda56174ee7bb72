package s3

import (
	"fmt"
	"slices"
	"strings"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/thawfs/thawfs/backend"
)

const maxKey = 1024 // bytes (S3 user guide, "Naming Amazon S3 objects")

// Servers that take some keys for others, or for none that a listing can name, without a word:
// objects would replace each other. They are known by the Server header of their answers. What
// else a server does not hold, it refuses itself.
const (
	otherServer int32 = iota
	minIO             // "/x" is "x"
	versityGW         // keys are paths: "a//b" is "a/b"; a listing mangles what XML cannot hold
)

// recognize notes the server by one of its answers.
func (s *Service) recognize(answer middleware.Metadata) {
	r, ok := awsmiddleware.GetRawResponse(answer).(*smithyhttp.Response)
	if !ok {
		return
	}
	switch r.Header.Get("Server") {
	case "MinIO":
		s.server.Store(minIO)
	case "VERSITYGW":
		s.server.Store(versityGW)
	}
}

// checkKey refuses keys that the store cannot hold.
func (s *Store) checkKey(key string) error {
	switch {
	case !backend.ValidKey(key):
		return backend.ErrInvalid
	case len(key) > maxKey:
		return fmt.Errorf("%w: %d bytes of at most %d", backend.ErrTooLong, len(key), maxKey)
	}
	switch s.svc.server.Load() {
	case minIO:
		if key[0] == '/' {
			return fmt.Errorf("%w: MinIO strips the slash that a key begins with", backend.ErrInvalid)
		}
	case versityGW:
		if !cleanPath(key) || strings.ContainsFunc(key, func(r rune) bool { return !inXML(r) }) {
			return fmt.Errorf("%w: versitygw would take the key for another", backend.ErrInvalid)
		}
	}
	return nil
}

// cleanPath reports whether a file system takes key for a name of its own, with a slash at the
// end or not.
func cleanPath(key string) bool {
	return !slices.ContainsFunc(strings.Split(strings.TrimSuffix(key, "/"), "/"), func(name string) bool {
		return name == "" || name == "." || name == ".."
	})
}

// inXML reports whether XML 1.0 can hold a character and hand it back as it was (section 2.2).
func inXML(r rune) bool {
	return r == '\t' || r == '\n' || r >= ' ' && r != '\ufffe' && r != '\uffff'
}
