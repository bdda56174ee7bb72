package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
)

// sbom lists the modules in the binary in the form of CycloneDX, beside the packages and in them.
func (j *job) sbom() error {
	doc := cyclonedx.NewBOM()
	doc.Metadata = &cyclonedx.Metadata{
		Timestamp: j.when.Format(time.RFC3339),
		Component: &cyclonedx.Component{
			BOMRef: "thawfs", Type: cyclonedx.ComponentTypeApplication, Name: "thawfs", Version: j.built.version,
			Licenses: under("Apache-2.0"),
		},
	}
	var parts []cyclonedx.Component
	for _, m := range j.built.modules {
		l, err := j.licenceOf(m)
		if err != nil {
			return err
		}
		purl := "pkg:golang/" + m.Path + "@" + m.Version
		part := cyclonedx.Component{
			BOMRef: purl, Type: cyclonedx.ComponentTypeLibrary, Name: m.Path, Version: m.Version, PackageURL: purl,
			Licenses: under(strings.Split(l.id, " AND ")...),
		}
		if sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:")); err == nil && len(sum) == 32 {
			part.Hashes = &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hex.EncodeToString(sum)}}
		}
		parts = append(parts, part)
	}
	doc.Components = &parts
	var b bytes.Buffer
	enc := cyclonedx.NewBOMEncoder(&b, cyclonedx.BOMFileFormatJSON)
	if err := enc.SetPretty(true).Encode(doc); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(j.out, "thawfs-"+j.built.version+".cdx.json"), b.Bytes(), 0o644); err != nil {
		return err
	}
	return j.put(docs+"/sbom.cdx.json", b.Bytes(), 0o644)
}

func under(ids ...string) *cyclonedx.Licenses {
	var all cyclonedx.Licenses
	for _, id := range ids {
		all = append(all, cyclonedx.LicenseChoice{License: &cyclonedx.License{ID: id}})
	}
	return &all
}
