package s3

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go/middleware"

	"github.com/thawfs/thawfs/backend"
)

// defaultType is the content type of objects that are given none. AWS would choose it by
// itself; that it is sent makes it known of every server.
const defaultType = "binary/octet-stream"

// stored completes what a change has returned. S3's answer names neither the attributes of the
// object, which were sent with the request, nor its time, which is that of the answer. Whether
// a server keeps to that is seen once, of an object without a class: AWS and MinIO do. Others
// are asked by a HEAD each time, a request that costs money. made.Meta is nil if the attributes
// are not known, made.ModTime zero if the time is not.
func (s *Store) stored(ctx context.Context, made backend.Object, answer middleware.Metadata) backend.Object {
	if at, ok := awsmiddleware.GetServerTime(answer); ok && made.ModTime.IsZero() {
		made.ModTime = modTime(&at)
	}
	made.Class = className(made.Class)
	made.State, made.Until = headState(made.Class, "", "", time.Now())
	whole := made.Meta != nil && !made.ModTime.IsZero()
	if whole && s.keeps(made.Class) {
		return made
	}
	return s.asked(ctx, made, whole)
}

// keeps reports whether the server is known to store what it is sent.
func (s *Store) keeps(class string) bool {
	if !s.svc.custom || s.svc.server.Load() == minIO {
		return true
	}
	return class == standard && s.svc.keeps.Load() == able
}

// asked completes made with what a HEAD tells. If that fails, or somebody else has changed the
// object since, the change was made nevertheless, and made is the best that is known of it.
func (s *Store) asked(ctx context.Context, made backend.Object, whole bool) backend.Object {
	obj, err := s.head(ctx, made.Key)
	if err == nil && obj.ETag == made.ETag {
		if whole && made.Class == standard {
			s.learn(made, obj)
		}
		return obj
	}
	if made.ModTime.IsZero() {
		made.ModTime = modTime(aws.Time(time.Now()))
	}
	return made
}

// learn compares what was thought of an object with what the store tells. One difference is
// enough for the server to be asked from then on.
func (s *Store) learn(thought, told backend.Object) {
	late := told.ModTime.Sub(thought.ModTime).Abs()
	if told.Size == thought.Size && told.Class == thought.Class && told.State == thought.State && late <= time.Second &&
		maps.Equal(told.Meta, thought.Meta) && maps.Equal(told.Header, thought.Header) {
		s.svc.keeps.CompareAndSwap(unknown, able)
		return
	}
	if s.svc.keeps.Swap(unable) != unable {
		s.svc.log.Info("the store changes what it is sent: it is asked for each object it has stored")
	}
}

// begun remembers what uploads were begun with: only their begin names the attributes, only
// their end the object. Those of an earlier process are not known.
type begun struct {
	mu    sync.Mutex // leaf
	attrs map[backend.Upload]backend.Attrs
}

// maxBegun bounds them; beyond it all are forgotten, which costs a HEAD each.
const maxBegun = 10_000

func (b *begun) add(up backend.Upload, a backend.Attrs) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.attrs == nil || len(b.attrs) >= maxBegun {
		b.attrs = map[backend.Upload]backend.Attrs{}
	}
	b.attrs[up] = clone(a)
}

func (b *begun) get(up backend.Upload) backend.Attrs {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.attrs[up]
}

func (b *begun) remove(up backend.Upload) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.attrs, up)
}
