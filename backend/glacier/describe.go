package glacier

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// An archive has no name, only a description of up to 1,024 printable characters in which
// each program writes names in its own way. decode knows those of some twenty programs, in
// the order in which they can be told apart. It never fails: what cannot be read has no name.
func decode(description string) name {
	d := unquote(description)
	switch {
	case d == "" || d == noDescription:
		return name{}
	case strings.HasPrefix(d, "<m>") || strings.HasPrefix(d, "<ArchiveMetadata>"):
		return decodeXML(d)
	case strings.HasPrefix(d, "{") && json.Valid([]byte(d)):
		return decodeJSON([]byte(d))
	case strings.HasPrefix(d, "mt1 ") || strings.HasPrefix(d, "mt2 "):
		return decodeMt(d)
	}
	return withFolder(name{path: d}, d)
}

// noDescription is what amazon-glacier-cmd-interface writes where it was given none.
const noDescription = "No description."

// unquote drops blanks and the quotes that some programs and CSV inventories leave around.
func unquote(d string) string {
	for {
		t := strings.TrimSpace(d)
		if len(t) >= 2 && (t[0] == '"' || t[0] == '\'') && t[len(t)-1] == t[0] {
			t = t[1 : len(t)-1]
		}
		if t == d {
			return t
		}
		d = t
	}
}

// withFolder marks names that end in a slash: an archive of a byte for a directory, as
// FastGlacier makes them.
func withFolder(n name, path string) name {
	n.dir = strings.HasSuffix(path, "/") || strings.HasSuffix(path, `\`)
	return n
}

// FastGlacier writes XML (its page "FastGlacier File Metadata Format"; versions 2 to 4 differ
// in ce, version 1 is ArchiveMetadata). QNAP and others write version 4 too.
//
// It is taken apart by hand: encoding/xml would be half of the time that it takes to load a
// million archives.
func decodeXML(d string) name {
	raw, ok := fromBase64(element(d, "p") + element(d, "Path"))
	if !ok || len(raw) == 0 {
		return name{}
	}
	n := withFolder(name{path: string(raw), mtime: parseTime(element(d, "lm") + element(d, "LastModificationDateUtc"))}, string(raw))
	text := element(d, "ce")
	ce := strings.Split(text, ":")
	if text != "" && (ce[0] != "0" || len(ce) > 1 && ce[1] != "0") {
		n.encoding = "fastglacier-ce:" + text
	}
	n.empty = n.encoding == "" && len(ce) == 4 && ce[3] == "0"
	return n
}

// element is the text of the first element of a name, "" if there is none that ends.
func element(d, name string) string {
	_, rest, _ := strings.Cut(d, "<"+name+">")
	text, _, ends := strings.Cut(rest, "</"+name+">")
	if !ends {
		return ""
	}
	return strings.TrimSpace(text)
}

// CloudBerry (MSP360) writes JSON with a Path in UTF-7, QNAP's old application one with a
// path and a type; file names stand under similar names elsewhere.
func decodeJSON(d []byte) name {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(d, &fields); err != nil {
		return name{}
	}
	low := map[string]string{}
	for k, v := range fields {
		low[strings.ToLower(k)] = scalar(v)
	}
	p := low["path"]
	if p == "" {
		p = low["filename"]
	}
	_, flagged := low["flags"]
	_, dated := low["utcdatemodified"]
	if flagged || dated {
		p = fromUTF7(p)
	}
	n := withFolder(name{path: p, mtime: parseTime(low["utcdatemodified"] + low["mtime"])}, p)
	if t := low["type"]; t == "folder" || t == "dir" || t == "directory" {
		n.dir = true
	}
	if flags, _ := strconv.Atoi(low["flags"]); flags != 0 { // 1 compressed, 2 encrypted
		n.encoding = "cloudberry-flags:" + low["flags"]
	}
	return n
}

// scalar is a JSON string or number as text; "" for anything else.
func scalar(v json.RawMessage) string {
	var s string
	if json.Unmarshal(v, &s) == nil {
		return s
	}
	var f json.Number
	if json.Unmarshal(v, &f) == nil {
		return f.String()
	}
	return ""
}

// mt-aws-glacier writes "mt2 " and base64url of JSON, before that "mt1 " and the same encoded
// as UTF-8 twice. A Java program writes "mt2 " in the other alphabet, its times in milliseconds.
func decodeMt(d string) name {
	raw, ok := fromBase64(strings.TrimSpace(d[4:]))
	if !ok {
		return name{}
	}
	if strings.HasPrefix(d, "mt1 ") {
		raw = once(raw)
	}
	if !json.Valid(raw) {
		return name{}
	}
	return decodeJSON(raw)
}

// once undoes the second of two encodings as UTF-8.
func once(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for _, r := range string(b) {
		if r > 0xff {
			return b // it was encoded once
		}
		out = append(out, byte(r))
	}
	if !utf8.Valid(out) {
		return b
	}
	return out
}

// fromBase64 reads both alphabets, with and without padding.
func fromBase64(s string) ([]byte, bool) {
	s = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(strings.TrimSpace(s), "="))
	b, err := base64.RawStdEncoding.DecodeString(s)
	return b, err == nil
}

// parseTime reads yyyyMMddTHHmmssZ, milliseconds or seconds since 1970; what it cannot is zero.
func parseTime(s string) time.Time {
	for _, layout := range []string{fastStamp, time.RFC3339, "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC()
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case err != nil || n <= 0:
		return time.Time{}
	case n > 1e11: // as seconds, the year 5138
		return time.UnixMilli(n).UTC()
	}
	return time.Unix(n, 0).UTC()
}

const fastStamp = "20060102T150405Z"

// maxDescription is the longest that the service takes, in characters.
const maxDescription = 1024

// encode is the description of a file that is uploaded here: FastGlacier's version 4, which
// most programs read. An empty file is an archive of one byte, as the service has no empty
// ones, and ce tells that its size is none. ok is false if the path is too long.
func encode(path string, mtime time.Time, empty bool) (description string, ok bool) {
	head := "<m><v>4</v><p>" + base64.StdEncoding.EncodeToString([]byte(path)) + "</p>"
	times := "<lm>" + mtime.UTC().Format(fastStamp) + "</lm>"
	tails := []string{times + "</m>"}
	if empty { // with what there is room for
		tails = []string{times + "<ce>0:0:d41d8cd98f00b204e9800998ecf8427e:0</ce></m>", times + "<ce>0:0::0</ce></m>", "<ce>0:0::0</ce></m>"}
	}
	for _, tail := range tails {
		if description = head + tail; len(description) <= maxDescription {
			break
		}
	}
	return description, len(description) <= maxDescription && len(path) <= maxPath
}

// maxPath is the longest path in bytes that a description holds beside its markup.
const maxPath = 732
