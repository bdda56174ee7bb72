package s3

import (
	"encoding/base64"
	"fmt"
	"maps"
	"mime"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/thawfs/thawfs/backend"
)

// standard is the class of objects for which S3 names none in an answer to HEAD, though it
// does in listings.
const standard = "STANDARD"

// wireAttrs are an object's attributes as a request carries them.
type wireAttrs struct {
	meta                                             map[string]string
	class                                            types.StorageClass
	contentType, encoding, language, disposition, cc *string
	expires                                          string
}

// wire prepares attributes for a request, or fails with ErrInvalid for what no header can hold.
func wire(a backend.Attrs) (wireAttrs, error) {
	w := wireAttrs{meta: make(map[string]string, len(a.Meta)), contentType: aws.String(defaultType)}
	// Naming the default class would only trouble servers that know no classes.
	if a.Class != standard {
		w.class = types.StorageClass(a.Class)
	}
	for name, value := range a.Meta {
		if !token(name) {
			return w, fmt.Errorf("%w: metadata name %q", backend.ErrInvalid, name)
		}
		w.meta[name] = encodeWord(value)
	}
	for name, value := range a.Header {
		if !plain(value) {
			return w, fmt.Errorf("%w: header %s: %q", backend.ErrInvalid, name, value)
		}
		switch name {
		case "content-type":
			if value != "" {
				w.contentType = &value
			}
		case "content-encoding":
			w.encoding = &value
		case "content-language":
			w.language = &value
		case "content-disposition":
			w.disposition = &value
		case "cache-control":
			w.cc = &value
		case "expires":
			w.expires = value
		default:
			return w, fmt.Errorf("%w: header %q is none that objects keep", backend.ErrInvalid, name)
		}
	}
	return w, nil
}

// apiOptions sends Expires as it is: the SDK's field takes only times, S3 keeps any text.
func (w wireAttrs) apiOptions() []func(*middleware.Stack) error {
	if w.expires == "" {
		return nil
	}
	return []func(*middleware.Stack) error{smithyhttp.SetHeaderValue("Expires", w.expires)}
}

// readHeader collects the representation headers of an answer.
func readHeader(contentType, encoding, language, disposition, cacheControl, expires *string) map[string]string {
	h := map[string]string{}
	for name, value := range map[string]*string{
		"content-type": contentType, "content-encoding": encoding, "content-language": language,
		"content-disposition": disposition, "cache-control": cacheControl, "expires": expires,
	} {
		if value != nil && *value != "" {
			h[name] = *value
		}
	}
	// aws-chunked describes how somebody's request was framed, not the object; some servers
	// store it nevertheless.
	if e := h["content-encoding"]; strings.Contains(e, "aws-chunked") {
		e = strings.Trim(strings.ReplaceAll(strings.ReplaceAll(e, " ", ""), "aws-chunked", ""), ",")
		if h["content-encoding"] = e; e == "" {
			delete(h, "content-encoding")
		}
	}
	return h
}

// encodeWord makes a value that survives as a header: plain ASCII as it is, anything else as an
// RFC 2047 encoded word, which is what S3 itself makes of such values (user guide, "Working
// with object metadata") and other clients understand. Values that look like an encoded word
// are encoded too, so that decodeWord is its inverse for every value.
func encodeWord(v string) string {
	if v != "" && plain(v) && !strings.Contains(v, "=?") && strings.TrimSpace(v) == v && !strings.Contains(v, "  ") {
		return v
	}
	return "=?UTF-8?B?" + base64.StdEncoding.EncodeToString([]byte(v)) + "?="
}

func decodeWord(v string) string {
	if !strings.Contains(v, "=?") {
		return v
	}
	if decoded, err := new(mime.WordDecoder).DecodeHeader(v); err == nil {
		return decoded
	}
	return v // not what it looked like
}

// readMeta decodes the metadata of an answer; the result is never nil.
func readMeta(wire map[string]string) map[string]string {
	meta := make(map[string]string, len(wire))
	for name, value := range wire {
		meta[strings.ToLower(name)] = decodeWord(value)
	}
	return meta
}

// plain reports whether v is printable ASCII.
func plain(v string) bool {
	for i := range len(v) {
		if v[i] < ' ' || v[i] > '~' {
			return false
		}
	}
	return true
}

// token reports whether name can be part of a header's name and is in lower case, as it comes
// back.
func token(name string) bool {
	for i := range len(name) {
		c := name[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return name != ""
}

// clone is what an object has that is sent with attributes. It copies them, so that an Object handed out shares no map with its caller's options.
func clone(a backend.Attrs) backend.Attrs {
	meta, header := map[string]string{}, map[string]string{}
	maps.Copy(meta, a.Meta)
	for name, value := range a.Header {
		if value = strings.TrimSpace(value); value != "" { // as it arrives
			header[name] = value
		}
	}
	if header["content-type"] == "" {
		header["content-type"] = defaultType
	}
	if a.Class == "" {
		a.Class = standard
	}
	return backend.Attrs{Meta: meta, Header: header, Class: a.Class}
}
